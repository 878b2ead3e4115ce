package import MeshModel
package import NIOCore

/// What waits for one reader, and how long it may: the one rule for slow readers, with time as an argument.
///
/// As long as the reader takes what comes, bytes pass and nothing is held. When it does not, they are held and whoever
/// answers is told to pause. A reader is too slow when it takes nothing for `Limits.streamBlockedMs`, or when more is
/// held than `Limits.answerHeldBytes`. Of a stream to a buyer less is held, because nobody reads it later: sources
/// that cannot pause send in bursts, so up to `Limits.streamBurstBytes` may wait, and more than usual for
/// `Limits.streamBurstMs`; usual is `Limits.streamBufferBytes` and the largest piece, since one event may be large.
package struct Outlet: Sendable {
    package enum Outcome: Hashable, Sendable {
        /// The bytes go on at once.
        case passes
        /// They go on piece by piece, as far as the connection takes them.
        case drains
        /// They wait.
        case waits
        /// The reader has lost its answer.
        case isTooSlow
    }

    /// What is to be told to whoever answers, after some of what was held has gone on.
    package enum Steering: Hashable, Sendable {
        case pause
        case resume
    }

    /// The most that goes on at once of what was held, so that how fast the reader takes it can be seen.
    package static let pieceBytes = Limits.answerPieceBytes

    private var held = ByteQueue()
    private var largest = 0
    private var isPaused = false
    /// When the reader last took something, while it has to be waited for.
    private var blockedSince: Instant?
    /// Since when more is held than usual.
    private var overSince: Instant?
    /// Whether the bytes are a stream to a buyer.
    private var isStream = false

    package init() {}

    package var isEmpty: Bool { held.isEmpty }

    /// What follows is a stream that is read while it is made.
    package mutating func expectStream() { isStream = true }

    /// The next bytes.
    /// - Parameter isWritable: whether the reader's connection takes more now.
    package mutating func offer(_ bytes: ByteBuffer, isWritable: Bool, now: Instant) -> Outcome {
        if isWritable, held.isEmpty, bytes.readableBytes <= Self.pieceBytes { return .passes }
        held.append(bytes)
        largest = max(largest, bytes.readableBytes)
        if isWritable { return .drains }
        return holdsTooMuch(now) ? .isTooSlow : .waits
    }

    /// The next piece of what is held, for a connection that takes more.
    package mutating func next(now: Instant) -> ByteBuffer? {
        guard let piece = held.take(Self.pieceBytes) else { return nil }
        if blockedSince != nil { blockedSince = now }
        if held.count <= usuallyHeld { overSince = nil }
        return piece
    }

    /// The connection has what it takes for now.
    package mutating func settle(now: Instant) -> Steering? {
        guard held.isEmpty else {
            if blockedSince == nil { blockedSince = now }
            defer { isPaused = true }
            return isPaused ? nil : .pause
        }
        largest = 0
        blockedSince = nil
        overSince = nil
        defer { isPaused = false }
        return isPaused ? .resume : nil
    }

    /// Whether the reader has taken too long by now.
    package mutating func isTooSlow(now: Instant) -> Bool {
        if let since = blockedSince, now.milliseconds(since: since) >= Limits.streamBlockedMs { return true }
        return !held.isEmpty && holdsTooMuch(now)
    }

    /// The reader gets nothing more.
    package mutating func drop() { held.removeAll() }

    private var usuallyHeld: Int { Limits.streamBufferBytes + largest }

    private mutating func holdsTooMuch(_ now: Instant) -> Bool {
        guard isStream, held.count > usuallyHeld else {
            overSince = nil
            return held.count > Limits.answerHeldBytes
        }
        let since = overSince ?? now
        overSince = since
        return held.count > max(Limits.streamBurstBytes, usuallyHeld)
            || now.milliseconds(since: since) >= Limits.streamBurstMs
    }
}
