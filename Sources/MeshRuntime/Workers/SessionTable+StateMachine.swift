import DequeModule
import MeshModel
import MeshSessions

/// What the control plane is told of a session.
package enum SessionEvent<Session: Sendable>: Sendable {
    case registered(Session)
    case changed(Session)
    case ended(Session)
}

/// What the index of sessions has to know of one.
protocol IndexedSession: AnyObject, Sendable {
    var identity: WorkerIdentity { get }
    func meets(_ need: WorkerNeed) -> Bool
    func standing(now: Instant) -> SessionStanding
}

/// Whether a session can take one more request.
enum SessionStanding: Hashable, Sendable {
    /// What the request would cost, to compare it with its provider's other workers.
    case ready(cost: Int64)
    /// It refused one a moment ago.
    case resting
    /// It has as many as it takes.
    case full
}

extension SessionTable {
    /// Which workers are attached, where each is found, and who has to hear of it: everything that `SessionTable` decides
    /// under its lock. It calls nobody and knows no time.
    ///
    /// - A session is **opened** when its socket is there, **registered** when its worker is, and **ended** once. Only a
    ///   registered one is found, and only the last of a client: who registers takes the place of the one before.
    /// - A session's key is provider and client id, and the provider's record key includes its owner: a worker of another
    ///   tenant with the same names never displaces it.
    /// - What changes is told in the order in which it came about: of two sessions of one client the newer is registered
    ///   before the older has ended, or what both stand for in the mesh would vanish for a moment, and stay for ever
    ///   when the newer leaves. One teller at a time takes the events, outside the lock. Of a session that came and went
    ///   before anybody was told, nobody is; a change that waits is told once. So no more waits than there are sessions.
    /// - The requests of a provider are counted in one place for as long as it has an open session.
    struct StateMachine<Session: IndexedSession> {
        private struct Key: Hashable, Sendable {
            var provider: RecordKey
            /// Bytes and no text: texts that look the same are equal.
            var clientID: [UInt8]

            init(_ identity: WorkerIdentity) {
                provider = identity.provider
                clientID = Array(identity.clientID.utf8)
            }
        }

        private struct Placed: Sendable {
            var session: Session
            /// Whose place it has; nil while nobody knows the owner.
            var owner: PublicKey?
        }

        private struct Open: Sendable {
            var load = ProviderLoad()
            var sessions = 0
        }

        /// What of a session waits to be told.
        private struct Untold {
            var isNew = false
            var hasChanged = false
        }

        private var placed = DenseTable<Key, Placed>()
        private var workers = DenseTable<RecordKey, ProviderWorkers<Session>>()
        private var open: [RecordKey: Open] = [:]
        private var turn = 0
        /// What was measured of workers that are away: their client id is who they are, not their socket.
        private var remembered: [Key: PerformanceWindow] = [:]
        private var placesTaken: [PublicKey: Int] = [:]
        /// Providers whose workers are not admitted, and what they are told.
        private var barred: Set<RecordKey> = []
        private var barReason = CloseReason.accountDisabled
        /// How many models the lists of all workers have, equal lists of a provider counted once.
        private var modelsTogether = 0
        private var events: Deque<SessionEvent<Session>> = []
        private var untold: [ObjectIdentifier: Untold] = [:]
        private var isBeingTold = false

        // MARK: Coming and going

        /// A socket that may become a worker of `provider`.
        /// - Returns: where all its requests are counted.
        mutating func opened(_ provider: RecordKey) -> ProviderLoad {
            open[provider, default: Open()].sessions += 1
            return open[provider, default: Open()].load
        }

        /// What a session takes over when it registers.
        enum Inheritance {
            case nothing
            /// The client is here already.
            case from(Session)
            /// What was measured of it before it left.
            case measured(PerformanceWindow)
        }

        func inheritance(of session: Session) -> Inheritance {
            let key = Key(session.identity)
            if let old = placed[key]?.session { return .from(old) }
            return remembered[key].map { .measured($0) } ?? .nothing
        }

        enum Registration {
            case refused(CloseReason)
            case attached(replacing: Session?)
        }

        /// - Parameter models: the ids it lists.
        mutating func registered(_ session: Session, owner: PublicKey?, models: [String]) -> Registration {
            let key = Key(session.identity)
            if barred.contains(key.provider) { return .refused(barReason) }
            let old = placed[key]
            // More may have been let in at once than are left to register.
            if old == nil, placed.count >= Limits.workerSessions || !takesPlace(owner) {
                return .refused(.tooManySessions)
            }
            if old == nil, let owner { placesTaken[owner, default: 0] += 1 }
            placed.set(Placed(session: session, owner: old == nil ? owner : old?.owner), for: key)
            if let old { index(key.provider) { $0.remove(old.session) } }
            index(key.provider) { $0.put(session, models: models) }
            remembered[key] = nil
            events.append(.registered(session))
            untold[ObjectIdentifier(session)] = Untold(isNew: true)
            if let old { endIsNews(old.session) }
            return .attached(replacing: old?.session)
        }

        /// False when the owner's workers have as many places as one owner's may.
        private func takesPlace(_ owner: PublicKey?) -> Bool {
            owner.map { placesTaken[$0, default: 0] < Limits.workerSessionsPerOwner } ?? true
        }

        /// It offers something else now, or is known better.
        mutating func changed(_ session: Session, models: [String]) {
            // One that was replaced, or has ended, is in no index any more.
            guard isPlaced(session) else { return }
            index(session.identity.provider) { $0.put(session, models: models) }
            // What waits to be told is told as it is then.
            guard untold[ObjectIdentifier(session)] == nil else { return }
            untold[ObjectIdentifier(session)] = Untold(hasChanged: true)
            events.append(.changed(session))
        }

        /// - Parameter window: what was measured of it.
        /// - Returns: whether it was in its client's place until now.
        mutating func ended(_ session: Session, window: PerformanceWindow) -> Bool {
            let key = Key(session.identity)
            close(key.provider)
            // The late close of a replaced socket must not touch the session that replaced it.
            guard isPlaced(session), let place = placed.remove(key) else { return false }
            if window.count > 0 {
                // A full table starts over: what is lost is learned again.
                if remembered.count >= Limits.performanceWorkers { remembered = [:] }
                remembered[key] = window
            }
            index(key.provider) { $0.remove(session) }
            if let owner = place.owner, let taken = placesTaken[owner] {
                placesTaken[owner] = taken > 1 ? taken - 1 : nil
            }
            endIsNews(session)
            return true
        }

        private mutating func close(_ provider: RecordKey) {
            guard let sessions = open[provider]?.sessions else { return }
            if sessions > 1 { open[provider]?.sessions = sessions - 1 } else { open[provider] = nil }
        }

        private func isPlaced(_ session: Session) -> Bool { placed[Key(session.identity)]?.session === session }

        /// No workers of these providers from now on, until the next call names others.
        /// - Returns: those that are here.
        mutating func bar(_ providers: Set<RecordKey>, _ reason: CloseReason) -> [Session] {
            barred = providers
            barReason = reason
            return workers.keys.filter(providers.contains).sorted().flatMap { sessions(of: $0) }
        }

        // MARK: The index

        private mutating func index(_ provider: RecordKey, _ change: (inout ProviderWorkers<Session>) -> Void) {
            modelsTogether -= workers[provider]?.modelsListed ?? 0
            let isEmpty = workers.update(provider, from: ProviderWorkers()) { workers in
                change(&workers)
                return workers.all.isEmpty
            }
            modelsTogether += workers[provider]?.modelsListed ?? 0
            if isEmpty { workers.remove(provider) }
        }

        var count: Int { placed.count }
        var all: [Session] { placed.values.map(\.session) }
        var providers: [RecordKey] { workers.keys.sorted() }
        /// Providers whose requests are counted.
        var providersOpen: Int { open.count }

        func sessions(of provider: RecordKey) -> [Session] { workers[provider]?.all ?? [] }

        /// Another session of the provider with the same list, and for how many more models there is room in all lists
        /// together.
        func lists(of provider: RecordKey, like models: [String]) -> (sibling: Session?, room: Int) {
            (workers[provider]?.first(listing: models), Limits.workerModelsTogether - modelsTogether)
        }

        /// The sessions of `provider` that list the model, and whose turn it is to be looked at first.
        mutating func candidates(_ provider: RecordKey, _ need: WorkerNeed) -> (sessions: [Session], turn: Int) {
            turn &+= 1
            return (workers[provider]?.offering(need.model) ?? [], turn)
        }

        /// The sessions that have what is needed: those first that can be expected to be done first, then those that
        /// rest; where there are neither, one that is full. Of many, the next few in turn are compared and not all: the
        /// best of a few is nearly as good, and costs the same for ten workers and for a thousand. Among equals the
        /// turn decides.
        static func order(_ sessions: [Session], turn: Int, _ need: WorkerNeed, now: Instant) -> [Session] {
            if sessions.count <= 1 { return sessions.filter { $0.meets(need) } }
            var ready: [(session: Session, cost: Int64)] = []
            var resting: [Session] = []
            var full: Session?
            let start = Int(turn.magnitude % UInt(sessions.count))
            for offset in 0..<min(sessions.count, Limits.workersScanned) {
                let index = start + offset
                let session = sessions[index < sessions.count ? index : index - sessions.count]
                guard session.meets(need) else { continue }
                switch session.standing(now: now) {
                case .full: if full == nil { full = session }
                case .resting: if resting.count < Limits.workersCompared { resting.append(session) }
                case .ready(let cost): ready.append((session, cost))
                }
                if ready.count >= Limits.workersCompared { break }
            }
            let order = ready.indices.sorted { (ready[$0].cost, $0) < (ready[$1].cost, $1) }
            let found = order.map { ready[$0].session } + resting
            // It will say that it is busy, and not that there is none.
            return found.isEmpty ? full.map { [$0] } ?? [] : found
        }

        // MARK: Telling

        private mutating func endIsNews(_ session: Session) {
            guard let waiting = untold.removeValue(forKey: ObjectIdentifier(session)) else {
                return events.append(.ended(session))
            }
            events.removeAll { event in
                switch event {
                case .registered(let other), .changed(let other): other === session
                case .ended: false
                }
            }
            if !waiting.isNew { events.append(.ended(session)) }
        }

        /// The first event that waits, for the one who tells all of them; nil when nothing waits, or somebody tells.
        mutating func beginTelling() -> SessionEvent<Session>? {
            if isBeingTold { return nil }
            return nextToTell()
        }

        /// The next event; nil when all are told, and who asked is not telling any more.
        mutating func nextToTell() -> SessionEvent<Session>? {
            let event = events.popFirst()
            isBeingTold = event != nil
            switch event {
            case .registered(let session), .changed(let session): untold[ObjectIdentifier(session)] = nil
            case .ended, nil: break
            }
            return event
        }
    }
}
