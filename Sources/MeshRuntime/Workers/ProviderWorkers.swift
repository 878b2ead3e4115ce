/// The sessions of one provider here, also by the models they offer: one of a thousand that has what nobody else has is
/// found as quickly as any.
struct ProviderWorkers {
    private(set) var all: [WorkerSession] = []
    private var byModel: [String: [WorkerSession]] = [:]
    private var modelsOf: [ObjectIdentifier: [String]] = [:]

    /// Those that offer `model`; nil: all.
    func offering(_ model: String?) -> [WorkerSession] {
        guard let model else { return all }
        return byModel[model] ?? []
    }

    /// Adds a session, or takes over what it offers now.
    mutating func put(_ session: WorkerSession, models: [String]) {
        let id = ObjectIdentifier(session)
        guard let known = modelsOf[id] else {
            all.append(session)
            index(session, id, models)
            return
        }
        guard known != models else { return }
        forget(session, id)
        index(session, id, models)
    }

    mutating func remove(_ session: WorkerSession) {
        all.removeAll { $0 === session }
        forget(session, ObjectIdentifier(session))
    }

    private mutating func index(_ session: WorkerSession, _ id: ObjectIdentifier, _ models: [String]) {
        modelsOf[id] = models
        for model in models { byModel[model, default: []].append(session) }
    }

    private mutating func forget(_ session: WorkerSession, _ id: ObjectIdentifier) {
        for model in modelsOf.removeValue(forKey: id) ?? [] {
            byModel[model]?.removeAll { $0 === session }
            if byModel[model]?.isEmpty ?? false { byModel.removeValue(forKey: model) }
        }
    }
}
