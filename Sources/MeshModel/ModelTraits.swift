/// What a prompt can hold beside text.
package struct Modalities: OptionSet, Hashable, Sendable {
    package let rawValue: UInt8

    package init(rawValue: UInt8) { self.rawValue = rawValue }

    package static let image = Modalities(rawValue: 1)
    package static let audio = Modalities(rawValue: 2)
    package static let video = Modalities(rawValue: 4)
    package static let file = Modalities(rawValue: 8)

    private static let all: [(Modalities, String)] = [
        (.image, "image"), (.audio, "audio"), (.video, "video"), (.file, "file"),
    ]

    /// Those of `names` that are known; `text` is none of them.
    package init(names: some Sequence<String>) {
        self = []
        for name in names {
            for (modality, known) in Self.all where known == name { insert(modality) }
        }
    }

    package var names: [String] { Self.all.filter { contains($0.0) }.map(\.1) }
    package static let names = all.map(\.1)
}

/// The fields of a request that a model may take or not, as buyers' tools call them. On the wire each is a bit: new ones are
/// added at the end, and none ever moves.
package enum RequestParameter: String, CaseIterable, Hashable, Sendable {
    case tools
    case toolChoice = "tool_choice"
    case parallelToolCalls = "parallel_tool_calls"
    case responseFormat = "response_format"
    case structuredOutputs = "structured_outputs"
    case maxTokens = "max_tokens"
    case maxCompletionTokens = "max_completion_tokens"
    case temperature
    case topP = "top_p"
    case topK = "top_k"
    case minP = "min_p"
    case topA = "top_a"
    case seed
    case stop
    case frequencyPenalty = "frequency_penalty"
    case presencePenalty = "presence_penalty"
    case repetitionPenalty = "repetition_penalty"
    case logitBias = "logit_bias"
    case logprobs
    case topLogprobs = "top_logprobs"
    case reasoning
    case includeReasoning = "include_reasoning"
    case reasoningEffort = "reasoning_effort"
    case verbosity
    case webSearchOptions = "web_search_options"
    case prediction
}

package struct RequestParameters: OptionSet, Hashable, Sendable {
    package let rawValue: UInt64

    package init(rawValue: UInt64) { self.rawValue = rawValue }

    package init(_ parameters: some Sequence<RequestParameter>) {
        self = []
        for parameter in parameters { insert(parameter) }
    }

    /// Those of `names` that are known.
    package init(names: some Sequence<String>) {
        self.init(names.compactMap { RequestParameter(rawValue: $0) })
    }

    package mutating func insert(_ parameter: RequestParameter) { formUnion(Self.bit(of: parameter)) }

    package func contains(_ parameter: RequestParameter) -> Bool { isSuperset(of: Self.bit(of: parameter)) }

    package var names: [String] { RequestParameter.allCases.filter { contains($0) }.map(\.rawValue) }

    private static func bit(of parameter: RequestParameter) -> RequestParameters {
        RequestParameters(rawValue: 1 << UInt64(RequestParameter.allCases.firstIndex(of: parameter) ?? 63))
    }
}

/// What a provider does with what it is sent, as its owner signed it. Nobody can check it: it is the seller's word.
package enum DataPolicy: String, CaseIterable, Hashable, Sendable {
    /// Not told.
    case unknown
    /// Nothing is kept once the answer is given.
    case none
    /// Kept for a bounded time, against abuse and to find faults; nobody learns from it.
    case bounded
    /// Kept, or used to train.
    case collected
}

/// What is known of a prompt before anybody has answered it.
package struct PromptFacts: Hashable, Sendable {
    /// The input, estimated (`TokenEstimate`).
    package var tokens: Int64
    /// How long the answer may become, where the request says.
    package var longestAnswer: Int64?
    package var images: Int64
    package var modalities: Modalities
    /// What the request uses.
    package var parameters: RequestParameters

    package init(
        tokens: Int64 = 0, longestAnswer: Int64? = nil, images: Int64 = 0, modalities: Modalities = [],
        parameters: RequestParameters = []
    ) {
        self.tokens = tokens
        self.longestAnswer = longestAnswer
        self.images = images
        self.modalities = modalities
        self.parameters = parameters
    }
}
