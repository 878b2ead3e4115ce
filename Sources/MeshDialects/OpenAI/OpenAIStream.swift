package import MeshModel
package import MeshWire

/// How a stream of OpenAI's events ends.
package enum OpenAIStream {
    /// The end marker of a stream that is complete.
    package static let done = Array("data: [DONE]\n\n".utf8)

    /// The last event of a stream that broke off: OpenAI's error object.
    package static func failure(_ error: MeshError, requestID: String?) -> [UInt8] {
        EventText.event(error.document(requestID: requestID).bytes)
    }

    /// The last chunk of a stream whose buyer wants to know what was used, counted by a node.
    package static func usage(
        of form: ChatLetter.Form, id: String?, model: String, at seconds: Int64, prompt: Int64, completion: Int64
    ) -> [UInt8] {
        let chunk: JSONValue = [
            "id": .string(id ?? (form == .text ? "cmpl-0" : "chatcmpl-0")), "object": .string(form.object),
            "created": .integer(seconds),
            "model": .string(model), "choices": [],
            "usage": [
                "prompt_tokens": .integer(prompt), "completion_tokens": .integer(completion),
                "total_tokens": .integer(prompt + completion),
            ],
            "aisbf": ["is_estimated": true],
        ]
        return EventText.event(chunk.bytes)
    }

    /// Stands between the words of one that broke off and those of who goes on: a chunk without a choice, as that of
    /// `usage` is, which programs pass over.
    package static func resumed(provider: String, node: String, worker: String?, attempt: Int) -> [UInt8] {
        let mark: JSONValue = [
            "object": "chat.completion.chunk", "choices": [],
            "aisbf": [
                "resumed": [
                    "provider": .string(provider), "node": .string(node), "worker": .optional(worker),
                    "attempt": .integer(attempt),
                ]
            ],
        ]
        return EventText.event(mark.bytes)
    }

    /// The end of a forwarded answer, for a node that reads it in the stream.
    package static func end(_ ending: ForwardAnswerEnd, requestID: String?) -> [UInt8] {
        switch ending {
        case .complete(let totals): totals.isInBody ? [] : done
        case .failed(let code, let words):
            failure(MeshError(ErrorCode(rawValue: code) ?? .streamInterrupted, words), requestID: requestID)
        }
    }
}
