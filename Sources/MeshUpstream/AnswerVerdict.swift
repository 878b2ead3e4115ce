import MeshDialects
import MeshModel
import MeshWire
import NIOCore

/// What becomes of a backend's success by the rules of the node that passes it on: an error in the place of an answer, a
/// page for browsers, a stream that breaks off. Buyers are told of it, and this is for their seller.
package struct AnswerVerdict: Sendable {
    private enum Reading: Sendable {
        case nothing
        case events(AnswerEvents)
        /// The beginning of it, which is all where it is short.
        case document([UInt8])
    }

    private let streams: Bool
    private var reading = Reading.nothing
    private var failure: String?

    /// - Parameter streams: whether a stream of events was asked for.
    package init(streams: Bool) { self.streams = streams }

    /// Whether a model's words are what is asked for there: anything may be an answer elsewhere.
    package static func judges(_ path: some StringProtocol) -> Bool {
        ["/completions", "/responses", "/messages"].contains { path.hasSuffix($0) }
    }

    package mutating func take(_ part: BackendPart) {
        switch part {
        case .words: break
        case .head(let status, _, let contentType, _):
            let head = AnswerHead(status: status, contentType: contentType)
            guard (200..<300).contains(status), !head.isMedia else { return }
            reading = streams && !head.isJSON && !head.isPage ? .events(AnswerEvents()) : .document([])
        case .body(let bytes): take(bytes)
        }
    }

    private mutating func take(_ bytes: ByteBuffer) {
        // Taken out, so that it grows in its place.
        let taken = reading
        reading = .nothing
        switch taken {
        case .nothing: return
        case .events(var events):
            var usage = UsageReading()
            let delivery = events.append([.text(Array(bytes.readableBytesView))], usage: &usage)
            _ = events.release()
            guard let error = delivery.failure else { return reading = .events(events) }
            failure = error.message
        case .document(var document):
            document += bytes.readableBytesView.prefix(Limits.errorWordsBytes + 1 - document.count)
            reading = .document(document)
        }
    }

    /// What is wrong with it, in words; nil for an answer.
    package mutating func finish() -> String? {
        defer { reading = .nothing }
        switch reading {
        case .nothing: return failure
        case .events(var events):
            var usage = UsageReading()
            return events.finish(usage: &usage).failure?.message
        case .document(let document):
            if document.isEmpty { return "the answer is empty" }
            if AnswerStart.judge(document, isWhole: true) == .page { return "the answer is a web page" }
            guard document.count <= Limits.errorWordsBytes else { return nil }
            return document.withUnsafeBytes { bytes in
                guard let fields = try? JSONScanner.fields(of: bytes) else { return "the answer is no JSON object" }
                let names: [StaticString] = ["choices", "object", "data"]
                let isAnswer = names.contains { fields.value($0, in: bytes) != nil }
                return isAnswer ? nil : AnswerFailure(fields, in: bytes)?.error().message
            }
        }
    }
}
