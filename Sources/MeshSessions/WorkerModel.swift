import MeshModel
package import MeshWire

/// One model a worker lists.
package struct WorkerModel: Hashable, Sendable {
    package var id: String
    package var contextTokens: Int64?
    package var modalities: [String] = []

    package init(id: String, contextTokens: Int64? = nil, modalities: [String] = []) {
        self.id = id
        self.contextTokens = contextTokens
        self.modalities = modalities
    }

    /// Reads an answer to `models.list` in any of the released shapes: the list under `data` or `models` or bare,
    /// items as strings or objects with `id`, `name` or `model`.
    package static func list(_ document: JSONValue) -> [WorkerModel]? {
        guard let items = document["data"]?.elements ?? document["models"]?.elements ?? document.elements
        else { return nil }
        var models: [WorkerModel] = []
        var known: Set<String> = []
        for item in items where models.count < Limits.workerModels {
            guard let model = WorkerModel(item), known.insert(model.id).inserted else { continue }
            models.append(model)
        }
        return models
    }

    private init?(_ item: JSONValue) {
        let name = item.text ?? item["id"]?.text ?? item["name"]?.text ?? item["model"]?.text
        guard let name, !name.isEmpty, name.utf8.count <= Limits.recordTextBytes, HeaderRule.isValue(name) else {
            return nil
        }
        id = name
        // Some give 0 for what they do not know, beside another spelling that is right.
        for field in ["context_window", "context_length", "max_context_length"] {
            guard let tokens = item[field]?.integer, (1...100_000_000).contains(tokens) else { continue }
            contextTokens = tokens
            break
        }
        let listed = item["architecture"]?["input_modalities"]?.elements ?? []
        modalities = listed.prefix(8).compactMap { $0.text }.filter { $0.utf8.count <= 32 }
    }
}
