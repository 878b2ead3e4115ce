package import MeshModel
package import MeshWire

extension WorkerModel {
    /// Reads an answer to `models.list` in any of the released shapes: the list under `data` or `models` or bare,
    /// items as strings or objects with `id`, `name` or `model`.
    package static func list(_ document: JSONValue) -> [WorkerModel]? {
        let items = document["data"]?.elements ?? document["models"]?.elements ?? document.elements
        return items.map { first(of: $0.lazy.compactMap { WorkerModel($0) }) }
    }

    /// The same of a document as it came, item by item: a long list is never a tree.
    package static func list(of document: [UInt8]) -> [WorkerModel]? {
        if let listed = document.withUnsafeBytes(list) { return listed }
        return document.withUnsafeBytes { BareNumbers.mended($0) }.flatMap { $0.withUnsafeBytes(list) }
    }

    private static func list(_ bytes: UnsafeRawBufferPointer) -> [WorkerModel]? {
        guard let whole = try? JSONScanner.value(of: bytes) else { return nil }
        var array = whole
        if whole.kind == .object {
            guard let fields = try? JSONScanner.fields(of: bytes, in: whole.range) else { return nil }
            let told = [fields.value("data", in: bytes), fields.value("models", in: bytes)].compactMap(\.self)
            guard let found = told.first(where: { $0.kind == .array }) else { return nil }
            array = found
        }
        guard array.kind == .array,
            let items = try? JSONScanner.elements(of: bytes, in: array.range, limit: Limits.workerModelsScanned)
        else { return nil }
        return first(
            of: items.lazy.compactMap { item in
                (try? JSONValue.parse(bytes, in: item.range)).flatMap { WorkerModel($0) }
            })
    }

    /// As many as one worker may have, each once.
    private static func first(of models: some Sequence<WorkerModel>) -> [WorkerModel] {
        var known: Set<String> = []
        return Array(models.lazy.filter { known.insert($0.id).inserted }.prefix(Limits.workerModels))
    }

    private init?(_ item: JSONValue) {
        let name = item.text ?? item["id"]?.text ?? item["name"]?.text ?? item["model"]?.text
        guard let name, !name.isEmpty, name.utf8.count <= Limits.recordTextBytes, HeaderRule.isValue(name) else {
            return nil
        }
        self.init(id: name)
        // Some give 0 for what they do not know, beside another spelling that is right.
        for field in ["context_window", "context_length", "max_context_length"] {
            guard let tokens = item[field]?.integer, (1...100_000_000).contains(tokens) else { continue }
            contextTokens = UInt32(tokens)
            break
        }
        let listed = item["architecture"]?["input_modalities"]?.elements ?? []
        modalities = listed.prefix(Limits.modalities).compactMap { $0.text }.filter { $0.utf8.count <= 32 }
        if let format = item["quantization"]?.text?.lowercased(), !format.isEmpty,
            format.utf8.count <= Limits.quantizationBytes, HeaderRule.isValue(format)
        {
            quantization = format
        }
        let taken = item["supported_parameters"]?.elements ?? []
        parameters = RequestParameters(names: taken.prefix(Limits.parametersListed).lazy.compactMap { $0.text })
    }
}
