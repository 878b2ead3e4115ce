import MeshExchange
import MeshModel
import MeshRouting
import MeshSessions
import MeshWire
import NIOCore
import Synchronization

/// What this node has measured of the hosts it forwards to, for all its event loops.
final class HostMeasurements: Sendable {
    private let scores = Mutex(HostScores())

    func order(_ hosts: [HostScores.Host], limit: Int, turn: UInt64) -> [Int] {
        scores.withLock { $0.order(hosts, limit: limit, turn: turn, now: SystemClock.instant) }
    }

    fileprivate func change(_ change: (inout HostScores) -> Void) { scores.withLock { change(&$0) } }
}

/// One attempt at another node: measures it from its start to the first content, or to its failure.
final class HostMeasurement: Sendable {
    private enum Phase {
        case waiting
        /// The first content, or what stands for it, is here.
        case answered
        case over
    }

    private let measurements: HostMeasurements
    private let host: HostScores.Host
    /// False when the time to the answer is not the host's: it waits for a buyer's upload.
    private let isTimed: Bool
    private let started = SystemClock.instant
    private let phase = Mutex(Phase.waiting)

    init(_ measurements: HostMeasurements, _ host: HostScores.Host, isTimed: Bool) {
        self.measurements = measurements
        self.host = host
        self.isTimed = isTimed
        measurements.change { $0.began(host) }
    }

    /// Whoever let go of the attempt without a word must not leave it counted as under way.
    deinit {
        if phase.withLock({ $0 != .over }) { measurements.change { [host] in $0.ended(host) } }
    }

    func heard(_ part: AnswerPart) {
        switch part {
        case .head(let head):
            guard move(to: .answered) == .waiting else { return }
            if head.status >= 500 || head.status == 429 { failed(afterMs: elapsedMs) } else { answered() }
        case .pending, .bytes: break
        case .end: if move(to: .over) != .over { ended() }
        case .fail(let error):
            let before = move(to: .over)
            guard before != .over else { return }
            // A refusal of the request is no failure of the host, nor is a buyer who does not read.
            // How long the answer had been coming before it broke off says nothing.
            if error.code.status >= 500, error.code != .streamTooSlow {
                failed(afterMs: before == .waiting ? elapsedMs : 0)
            }
            ended()
        }
    }

    /// The buyer is gone. That it had waited so long in vain is the host's affair, or its worker's.
    func cancelled() {
        let before = move(to: .over)
        guard before != .over else { return }
        if before == .waiting, isTimed, elapsedMs >= Limits.hungRequestMs { failed(afterMs: elapsedMs) }
        ended()
    }

    /// Nothing came in the time that this node gives.
    func expired() {
        guard move(to: .over) != .over else { return }
        failed(afterMs: elapsedMs)
        ended()
    }

    /// - Returns: the phase before.
    private func move(to next: Phase) -> Phase {
        phase.withLock { phase in
            defer { if phase != .over { phase = next } }
            return phase
        }
    }

    private var elapsedMs: Int64 { SystemClock.instant.milliseconds(since: started) }

    private func answered() {
        guard isTimed else { return }
        measurements.change { $0.answered(host, afterMs: elapsedMs, now: SystemClock.instant) }
    }

    private func failed(afterMs: Int64) {
        measurements.change { $0.failed(host, afterMs: isTimed ? afterMs : 0, now: SystemClock.instant) }
    }

    private func ended() { measurements.change { $0.ended(host) } }
}

/// Listens to an attempt's answer on its way to the receiver.
final class MeasuredReceiver: AnswerReceiver {
    let eventLoop: any EventLoop
    private let receiver: any AnswerReceiver
    private let measurement: HostMeasurement

    init(_ receiver: any AnswerReceiver, _ measurement: HostMeasurement) {
        self.receiver = receiver
        self.measurement = measurement
        eventLoop = receiver.eventLoop
    }

    func receive(_ parts: [AnswerPart]) {
        for part in parts { measurement.heard(part) }
        receiver.receive(parts)
    }
}

/// Steers the attempt, and notices when it is given up.
final class MeasuredHandle: AttemptHandle {
    let handle: any AttemptHandle
    let measurement: HostMeasurement

    init(handle: any AttemptHandle, measurement: HostMeasurement) {
        self.handle = handle
        self.measurement = measurement
    }

    func cancel() {
        measurement.cancelled()
        handle.cancel()
    }
    func expire() {
        measurement.expired()
        handle.cancel()
    }
    func pause() { handle.pause() }
    func resume() { handle.resume() }
    func consumed(_ count: Int) { handle.consumed(count) }
}
