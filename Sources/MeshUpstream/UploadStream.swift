import MeshModel
package import NIOCore
import Synchronization

/// A request's body while the broker sends it: gives the broker room, and takes in no more than that, so that what the
/// backend has not read waits at the buyer and not here.
package struct UploadStream: AsyncSequence, Sendable {
    package typealias Element = ByteBuffer

    /// Bytes in all, where the buyer told.
    package let length: Int64?
    private let stream: AsyncStream<ByteBuffer>
    private let input: AsyncStream<ByteBuffer>.Continuation
    private let shared = Shared()
    private let credit: @Sendable (Int) async throws -> Void

    /// - Parameter credit: tells the broker that there is room for so many more bytes.
    package init(length: Int64?, credit: @escaping @Sendable (Int) async throws -> Void) {
        self.length = length
        self.credit = credit
        (stream, input) = AsyncStream<ByteBuffer>.makeStream()
    }

    /// - Returns: false when the broker had no room for so much.
    package func arrived(_ bytes: ByteBuffer) -> Bool {
        let fits = shared.account.withLock { account in
            account.room -= bytes.readableBytes
            return account.room >= 0
        }
        if fits { input.yield(bytes) }
        return fits
    }

    package func ended() {
        shared.isWhole.store(true, ordering: .releasing)
        input.finish()
    }

    /// The request is over; whoever still reads gets an error and not an end.
    package func abandon() { input.finish() }

    package func makeAsyncIterator() -> Iterator { Iterator(upload: self, input: stream.makeAsyncIterator()) }

    package struct Iterator: AsyncIteratorProtocol {
        fileprivate let upload: UploadStream
        fileprivate var input: AsyncStream<ByteBuffer>.AsyncIterator
        private var hasBegun = false

        fileprivate init(upload: UploadStream, input: AsyncStream<ByteBuffer>.AsyncIterator) {
            self.upload = upload
            self.input = input
        }

        package mutating func next() async throws -> ByteBuffer? {
            if !hasBegun {
                hasBegun = true
                try await upload.give(Limits.answerWindowBytes)
            }
            guard let piece = await input.next() else {
                try Task.checkCancellation()
                // A body that was cut must not look like a whole one.
                guard upload.shared.isWhole.load(ordering: .acquiring) else { throw CancellationError() }
                return nil
            }
            try await upload.read(piece.readableBytes)
            return piece
        }
    }

    private func give(_ bytes: Int) async throws {
        shared.account.withLock { $0.room += bytes }
        try await credit(bytes)
    }

    /// The backend took so many bytes.
    private func read(_ count: Int) async throws {
        let due = shared.account.withLock { account in
            account.due += count
            guard account.due >= Limits.answerWindowBytes / 4 else { return 0 }
            defer { account.due = 0 }
            return account.due
        }
        if due > 0 { try await give(due) }
    }
}

/// Room the broker has not used, and bytes the backend has read since the last credit.
private struct Account {
    var room = 0
    var due = 0
}

private final class Shared: Sendable {
    let account = Mutex(Account())
    /// Whether the last byte has come.
    let isWhole = Atomic<Bool>(false)
}
