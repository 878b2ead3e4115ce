import MeshExchange
import MeshRouting
import NIOCore

/// Whoever keeps account of one attempt. Told of its end once or more; the first word counts.
protocol AttemptAccount: AnyObject, Sendable {
    func ended(_ outcome: PoolOutcome)
}

/// Listens to an attempt's answer behind its receiver, who judges it: what has failed before content is known by then.
final class AccountedReceiver: AnswerReceiver {
    let eventLoop: any EventLoop
    private let receiver: any AnswerReceiver
    private let account: any AttemptAccount

    init(_ receiver: any AnswerReceiver, _ account: any AttemptAccount) {
        self.receiver = receiver
        self.account = account
        eventLoop = receiver.eventLoop
    }

    func receive(_ parts: [AnswerPart]) {
        receiver.receive(parts)
        for part in parts {
            switch part {
            case .pending, .head, .bytes: break
            case .end: account.ended(.served)
            case .fail(let error): account.ended(.failed(Fault(error)))
            }
        }
    }
}

/// Steers the attempt, and notices when it is given up.
final class AccountedHandle: AttemptHandle {
    let handle: any AttemptHandle
    let account: any AttemptAccount

    init(handle: any AttemptHandle, account: any AttemptAccount) {
        self.handle = handle
        self.account = account
    }

    func cancel() {
        account.ended(.cancelled)
        handle.cancel()
    }
    func expire() {
        account.ended(.failed(.timeout))
        handle.expire()
    }
    func pause() { handle.pause() }
    func resume() { handle.resume() }
    func consumed(_ count: Int) { handle.consumed(count) }
}
