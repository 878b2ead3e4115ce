/// The sessions of one provider here, also by the models they offer: one of a thousand that has what nobody else has is
/// found as quickly as any. Sessions that list the same are kept together, so that a thousand long lists cost no more
/// than one.
struct ProviderWorkers<Session: AnyObject & Sendable>: Sendable {
    private struct Listing {
        var models: [String]
        var sessions: [Session]
    }

    private(set) var all: [Session] = []
    private var lists: [Int: Listing] = [:]
    private var numbers: [[String]: Int] = [:]
    private var numberOf: [ObjectIdentifier: Int] = [:]
    private var byModel: [String: [Int]] = [:]
    private var listsMade = 0
    /// How long all different lists are together.
    private(set) var modelsListed = 0

    /// Those that offer `model`; nil: all.
    func offering(_ model: String?) -> [Session] {
        guard let model else { return all }
        let numbers = byModel[model] ?? []
        if numbers.count == 1 { return lists[numbers[0]]?.sessions ?? [] }
        return numbers.flatMap { lists[$0]?.sessions ?? [] }
    }

    func first(listing models: [String]) -> Session? { numbers[models].flatMap { lists[$0]?.sessions.first } }

    /// Adds a session, or takes over what it offers now.
    mutating func put(_ session: Session, models: [String]) {
        let id = ObjectIdentifier(session)
        guard let known = numberOf[id] else {
            all.append(session)
            index(session, id, models)
            return
        }
        guard lists[known]?.models != models else { return }
        forget(session, id)
        index(session, id, models)
    }

    mutating func remove(_ session: Session) {
        all.removeAll { $0 === session }
        forget(session, ObjectIdentifier(session))
    }

    private mutating func index(_ session: Session, _ id: ObjectIdentifier, _ models: [String]) {
        if let number = numbers[models] {
            lists[number]?.sessions.append(session)
            numberOf[id] = number
            return
        }
        listsMade += 1
        lists[listsMade] = Listing(models: models, sessions: [session])
        numbers[models] = listsMade
        numberOf[id] = listsMade
        modelsListed += models.count
        for model in models { byModel[model, default: []].append(listsMade) }
    }

    private mutating func forget(_ session: Session, _ id: ObjectIdentifier) {
        guard let number = numberOf.removeValue(forKey: id) else { return }
        lists[number]?.sessions.removeAll { $0 === session }
        guard let list = lists[number], list.sessions.isEmpty else { return }
        lists[number] = nil
        numbers[list.models] = nil
        modelsListed -= list.models.count
        for model in list.models {
            byModel[model]?.removeAll { $0 == number }
            if byModel[model]?.isEmpty ?? false { byModel.removeValue(forKey: model) }
        }
    }
}
