import MeshDialects
import MeshModel
import MeshWire

/// What is said over a WebSocket of the Responses API: frames of the buyer and events of answers, in any order. A request is JSON
/// with a list as its input and one model, and nothing is remembered beyond what fits a request.
enum ResponsesTalkTarget {
    static func run(_ input: [UInt8]) {
        var talk = ResponsesTalk(mark: "m")
        // Lines; the first byte of each says what it is.
        for line in input.split(separator: 0x0A, omittingEmptySubsequences: false) {
            let text = Array(line.dropFirst())
            switch line.first {
            case UInt8(ascii: "e"): talk.told(text)
            case UInt8(ascii: "."): talk.ended()
            case UInt8(ascii: "f"): talk.forget()
            default: took(text, &talk)
            }
            expect(talk.heldBytes <= 2 * Limits.requestBodyBytes, "more is remembered than fits a request")
        }
    }

    private static func took(_ frame: [UInt8], _ talk: inout ResponsesTalk) {
        let wasBusy = talk.isBusy
        guard let move = try? talk.took(frame) else {
            return expect(talk.isBusy == wasBusy, "a frame that was refused began something")
        }
        switch move {
        case .nothing: break
        case .tell(let documents):
            for document in documents { expect((try? JSONValue.parse(document)) != nil, "a document that is none") }
        case .ask(let body):
            expect(!wasBusy && talk.isBusy, "two requests at once")
            guard let request = try? JSONValue.parse(body), request["stream"]?.flag == true,
                request["input"]?.elements != nil
            else { return expect(false, "no request: \(String(decoding: body, as: UTF8.self))") }
            expect(request["previous_response_id"] == nil, "a name that nobody else knows")
        }
    }
}
