/// One model that a worker lists.
package struct WorkerModel: Hashable, Sendable {
    package var id: String
    /// Nil where the worker does not say.
    package var contextTokens: UInt32?
    /// What it takes beside text, such as `image`.
    package var modalities: [String]
    /// The number format of its weights, such as `fp8`; nil where the worker does not say.
    package var quantization: String?
    /// The fields of a request that it takes; empty where the worker does not say.
    package var parameters: RequestParameters

    package init(
        id: String, contextTokens: UInt32? = nil, modalities: [String] = [], quantization: String? = nil,
        parameters: RequestParameters = []
    ) {
        self.id = id
        self.contextTokens = contextTokens
        self.modalities = modalities
        self.quantization = quantization
        self.parameters = parameters
    }
}

/// The models of one worker in their order, a long list with an index of its ids. Whoever has the same list shares
/// both: most workers of a provider do.
package struct ModelList: Sendable {
    private let models: [WorkerModel]
    private let ids: Set<String>?

    package init(_ models: [WorkerModel]) {
        self.models = models
        ids = models.count > Limits.workerModelsShort ? Set(models.lazy.map(\.id)) : nil
    }

    package func contains(_ id: String) -> Bool { ids?.contains(id) ?? models.contains { $0.id == id } }

    /// The list, or its beginning where it is longer than a worker's may be.
    func bounded() -> ModelList {
        guard models.count > Limits.workerModels || models.contains(where: { $0.modalities.count > Limits.modalities })
        else { return self }
        return ModelList(
            models.prefix(Limits.workerModels).map { model in
                var model = model
                model.modalities = Array(model.modalities.prefix(Limits.modalities))
                return model
            })
    }
}

extension ModelList: Hashable {
    package static func == (left: Self, right: Self) -> Bool { left.models == right.models }
    package func hash(into hasher: inout Hasher) { hasher.combine(models) }
}

extension ModelList: RandomAccessCollection {
    package var startIndex: Int { models.startIndex }
    package var endIndex: Int { models.endIndex }
    package subscript(position: Int) -> WorkerModel { models[position] }
}

extension ModelList: ExpressibleByArrayLiteral {
    package init(arrayLiteral models: WorkerModel...) { self.init(models) }
}
