package import MeshModel

/// What one node chooses by policy from: the candidates of the catalog of the moment, and what it has seen of each. Pure: the
/// node drives it under a short lock, the simulator as it stands.
package struct PolicyDesk: Sendable {
    /// What one decision looks at: copies that share their storage.
    package struct View: Sendable {
        package var index: PolicyIndex
        package var states: PolicyStates
        package var ratios: TokenRatios
        package var turn: UInt64

        /// The best candidates, best first.
        package func decide(_ query: PolicyQuery, limit: Int) -> [PolicyCandidate] {
            index.decide(query, states, turn: turn, limit: limit).map { index.candidate($0.candidate) }
        }
    }

    private var index: PolicyIndex
    private var states: PolicyStates
    private var ratios = TokenRatios()
    private var troubles = CandidateTroubles()
    private var turn: UInt64

    package init(_ catalog: Catalog, turn: UInt64) {
        index = PolicyIndex(catalog)
        states = PolicyStates(index)
        self.turn = turn
    }

    package var count: Int { index.count }

    /// The catalog has changed. Who stays keeps its state, who was gone and is back is no worse for it, and who rests goes on
    /// resting, gone meanwhile or not.
    package mutating func layOut(_ new: PolicyIndex) {
        states = states.carried(from: index, to: new)
        for key in troubles.lost where index.number(of: key) == nil && new.number(of: key) != nil {
            troubles.cameBack(key)
        }
        for key in troubles.passedOver {
            if let number = new.number(of: key) { states.update(number) { $0.exclusion = .cooling } }
        }
        index = new
    }

    // MARK: Decisions

    /// - Parameter takesTurn: false for who only looks.
    package mutating func view(takesTurn: Bool, now: Instant) -> View {
        for key in troubles.returned(now: now) { change(key) { $0.exclusion = nil } }
        if takesTurn { turn &+= 1 }
        return View(index: index, states: states, ratios: ratios, turn: takesTurn ? turn : turn &+ 1)
    }

    /// The same with those that rest and may be asked all the same, for a request for which nobody else is left; nil where
    /// there are none. Behind the decision, `askEarly`.
    package mutating func earlyView(now: Instant) -> View? {
        let early = troubles.mayBeAskedEarly(now: now)
        guard !early.isEmpty else { return nil }
        var view = view(takesTurn: false, now: now)
        for key in early {
            if let number = index.number(of: key) { view.states.update(number) { $0.exclusion = nil } }
        }
        return view
    }

    /// When the first of the candidates that rest, and that a request could go to otherwise, may be asked: for how long it may be
    /// worth waiting. Nil where none of them would do.
    /// - Parameters:
    ///   - departed: those whose workers have just left: they may be back at any moment.
    ///   - keys: what the request would choose among, best first (`View.decide`).
    package mutating func soonest(
        _ departed: PolicyIndex?, now: Instant, among keys: (View) -> [CandidateKey]
    ) -> Instant? {
        if let departed, departed.count > 0,
            !keys(View(index: departed, states: PolicyStates(departed), ratios: ratios, turn: turn)).isEmpty
        {
            return now
        }
        let resting = troubles.passedOver
        guard !resting.isEmpty else { return nil }
        var view = view(takesTurn: false, now: now)
        for key in resting {
            if let number = index.number(of: key) { view.states.update(number) { $0.exclusion = nil } }
        }
        return troubles.soonest(keys(view))
    }

    /// Which of those that rest is asked now, one request in a while.
    package mutating func askEarly(_ keys: [CandidateKey], now: Instant) -> CandidateKey? {
        troubles.askEarly(keys, now: now)
    }

    // MARK: What became of it

    package mutating func began(_ key: CandidateKey) { change(key) { $0.underWay += 1 } }

    package mutating func ended(_ key: CandidateKey) { change(key) { $0.underWay = max($0.underWay - 1, 0) } }

    /// Whether the prompt of a request that was answered is worth counting.
    package mutating func wantsPrompt(of model: String) -> Bool { ratios.wants(model) }

    /// How many tokens the prompt of a request had, by whoever answered it.
    package mutating func learn(model: String, estimate: Int64, counted: Int64) {
        ratios.learn(model: model, estimate: estimate, counted: counted)
    }

    package mutating func answered(_ key: CandidateKey, afterMs: Int64) {
        troubles.answered(key)
        change(key) { candidate in
            candidate.exclusion = nil
            let known = candidate.speed.latencyMs.p50
            let next = known == 0 ? max(afterMs, 1) : known + (max(afterMs, 1) - known) / 8
            candidate.speed.latencyMs = Percentiles(all: next)
        }
    }

    package mutating func failed(_ key: CandidateKey, _ fault: Fault, now: Instant) {
        guard troubles.failed(key, fault, now: now) else { return }
        change(key) { $0.exclusion = .cooling }
    }

    private mutating func change(_ key: CandidateKey, _ body: (inout CandidateState) -> Void) {
        guard let number = index.number(of: key) else { return }
        states.update(number, body)
    }
}

extension PolicyCandidate {
    package var key: CandidateKey { CandidateKey(provider: provider.key, node: node.key, model: model) }
}
