import MeshModel
package import MeshWire

/// The backend's models, cut to what a node keeps of them: lists of other providers' models come with pages about each.
package struct ModelOffer: Hashable, Sendable {
    package private(set) var models: [JSONValue] = []
    /// The same, sorted: another order is no news.
    package private(set) var key: [String] = []
    package private(set) var isCut = false

    /// Nothing is offered.
    package init() {}

    /// Of models nothing but their names is known.
    init(sold names: [String]) {
        models = names.map { ["id": .string($0), "object": "model"] }
        key = models.map { String(decoding: $0.bytes, as: UTF8.self) }.sorted()
    }

    /// OpenAI's list, one under `models`, or a bare one. Nil for what is none.
    package init?(_ document: JSONValue, _ names: ModelNames = ModelNames()) {
        guard let items = document["data"]?.elements ?? document["models"]?.elements ?? document.elements
        else { return nil }
        var size = 0
        for model in items.lazy.flatMap({ Self.models($0, names) }) {
            let text = model.bytes
            size += text.count + 1
            guard size < Limits.workerRegisterBytes - 64 else {
                isCut = true
                break
            }
            models.append(model)
            key.append(String(decoding: text, as: UTF8.self))
        }
        key.sort()
    }

    /// The model under each name it is sold by.
    private static func models(_ item: JSONValue, _ names: ModelNames) -> [JSONValue] {
        guard let name = item.text ?? item["id"]?.text ?? item["name"]?.text ?? item["model"]?.text, !name.isEmpty
        else { return [] }
        return names.names(of: name).map { model(item, name: $0) }
    }

    private static func model(_ item: JSONValue, name: String) -> JSONValue {
        var members: [JSONValue.Member] = [.init("id", .string(name)), .init("object", "model")]
        for field in ["context_window", "context_length", "max_context_length", "max_model_len"] {
            guard let tokens = item[field]?.integer, tokens > 0 else { continue }
            members.append(.init("context_length", .integer(tokens)))
            break
        }
        if let modalities = item["architecture"]?["input_modalities"]?.elements {
            members.append(.init("architecture", ["input_modalities": .array(Array(modalities.prefix(8)))]))
        }
        if let format = item["quantization"]?.text { members.append(.init("quantization", .string(format))) }
        if let taken = item["supported_parameters"]?.elements {
            members.append(.init("supported_parameters", .array(Array(taken.prefix(Limits.parametersListed)))))
        }
        return .object(members)
    }

    package var document: JSONValue { ["object": "list", "data": .array(models)] }
}
