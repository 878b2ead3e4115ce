package import MeshModel
import MeshWire

/// Holds back the beginning of a stream of events until something of the answer itself is in it: what went out commits
/// whoever sent it, and neither a real status nor another worker is possible any more.
///
/// The usual first event of a chat (`role: assistant`, `content: ""`) is no content, nor are comments and news of the
/// work. What is held is bounded in bytes and events; above that all counts as content.
package struct FirstContent: Sendable {
    package enum Finding: Hashable, Sendable {
        case none
        case content
        /// An event tells that there will be no answer.
        case failure(MeshError)
    }

    private var held: [UInt8] = []
    private var reframer = EventStreamReframer()
    private var events = 0

    package init() {}

    /// Adds bytes of the stream, cut anywhere.
    package mutating func append(_ bytes: [UInt8]) -> Finding {
        held += bytes
        do throws(EventStreamReframer.Overflow) {
            for event in try reframer.append(bytes) {
                events += 1
                let finding = Self.finding(in: event)
                if finding != .none { return finding }
            }
        } catch { return .content }
        return held.count > Limits.streamBufferBytes || events > Limits.eventsBeforeContent ? .content : .none
    }

    /// The stream has ended: its last event may lack the blank line.
    package mutating func finish() -> Finding { reframer.finish().map { Self.finding(in: $0.event) } ?? .none }

    /// All that was held back.
    package mutating func release() -> [UInt8] {
        defer { self = FirstContent() }
        return held
    }

    /// What one whole event, without its blank line, is.
    static func finding(in event: [UInt8]) -> Finding {
        let read = StreamEvent(event)
        if read.isEnd { return .content }
        switch read.meaning {
        case .failure(let failure): return .failure(failure.error())
        case .preliminary, .nothing: return .none
        case .content: return .content
        }
    }
}
