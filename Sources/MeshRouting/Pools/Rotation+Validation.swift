import MeshModel

extension Rotation {
    /// What is wrong with a pool, where, and what to do about it.
    package struct Problem: Hashable, Sendable, CustomStringConvertible {
        /// `members[2].weight`
        package var path: String
        package var message: String

        package var description: String { "\(path): \(message)" }
    }

    /// Everything that is wrong with it, in the order in which it is written; empty when it can be used.
    /// - Parameter others: the pools that a name means in its scope. What it says of this one's own name counts not.
    package func problems(others: (String) -> Rotation?) -> [Problem] {
        var problems: [Problem] = []
        func add(_ path: String, _ message: String) { problems.append(Problem(path: path, message: message)) }
        if !NameRule.isValid(name) { add("name", "'\(name.prefix(64))' is no name; take \(NameRule.text)") }
        if let model, !Self.isModel(model) { add("model", Self.modelRule) }
        if members.isEmpty { add("members", "a rotation needs at least one member, such as 'lab/model'") }
        if members.count > Limits.poolMembers {
            add("members", "\(members.count) members; at most \(Limits.poolMembers) can share one rotation")
        }
        for (number, member) in members.prefix(Limits.poolMembers).enumerated() {
            let path = "members[\(number)]"
            problems += member.problems(path)
            if members[..<number].contains(where: { $0.target == member.target }) {
                add(path, "'\(member.target.text)' is a member already; add its weight to that one's")
            }
        }
        problems += settings.problems()
        if problems.isEmpty { problems += nestingProblems(others) }
        return problems
    }

    static let modelRule = "a model id has 1 to \(Limits.recordTextBytes) bytes; leave it out for any model"

    static func isModel(_ text: String) -> Bool { (1...Limits.recordTextBytes).contains(text.utf8.count) }

    // MARK: Rotations in rotations

    private func nestingProblems(_ others: (String) -> Rotation?) -> [Problem] {
        var problems: [Problem] = []
        var visits = 0
        for (number, member) in members.enumerated() {
            guard case .rotation(let inner) = member.target else { continue }
            if let message = nestingProblem(inner, above: [name], others, &visits) {
                problems.append(Problem(path: "members[\(number)]", message: message))
            }
        }
        if problems.isEmpty {
            let count = PoolTree(self, others: others).leaves.count
            if count > Limits.poolMembers {
                problems.append(
                    Problem(
                        path: "members",
                        message:
                            "with those of its rotations it has \(count) members; at most \(Limits.poolMembers) can share one"
                    ))
            }
        }
        return problems
    }

    /// - Parameter above: the names of the rotations that `inner` stands in, the outermost first.
    private func nestingProblem(
        _ inner: String, above: [String], _ others: (String) -> Rotation?, _ visits: inout Int
    ) -> String? {
        visits += 1
        if visits > Limits.poolNodes {
            return "rotations stand in each other more than \(Limits.poolNodes) times; take some of them out"
        }
        if above.contains(inner) {
            let chain = (above + [inner]).map { "'\($0)'" }.joined(separator: " → ")
            return "\(chain) goes round in a circle; take one of them out"
        }
        if above.count >= Limits.poolDepth {
            return
                "'\(inner)' stands \(above.count) rotations deep; at most \(Limits.poolDepth) may stand in each other"
        }
        guard let rotation = others(inner) else {
            return "there is no rotation '\(inner.prefix(64))' in this scope; create it first"
        }
        for member in rotation.members.prefix(Limits.poolMembers) {
            guard case .rotation(let next) = member.target else { continue }
            if let message = nestingProblem(next, above: above + [inner], others, &visits) { return message }
        }
        return nil
    }
}

extension Rotation.Member {
    fileprivate func problems(_ path: String) -> [Rotation.Problem] {
        var problems: [Rotation.Problem] = []
        func add(_ path: String, _ message: String) {
            problems.append(Rotation.Problem(path: path, message: message))
        }
        switch target {
        case .rotation(let name):
            if !NameRule.isValid(name) {
                add(path, "'rotation/\(name.prefix(64))' names no rotation; its name has \(NameRule.text)")
            }
        case .provider(let name, let model):
            if name == "autoselect" || name == "auto" || name.hasPrefix("auto:") {
                add(path, "'\(target.text)' is a policy; members are providers, their models or rotations")
            } else if name.isEmpty || name.utf8.count > Limits.poolMemberBytes {
                add(
                    path,
                    "a provider's name has 1 to \(Limits.poolMemberBytes) bytes, such as 'lab' or 'seller@node/lab'")
            }
            if let model, !Rotation.isModel(model) { add(path, Rotation.modelRule) }
        }
        if !(0...Limits.poolWeight).contains(weight) {
            add("\(path).weight", "\(weight) is no weight; give 0 (no new requests) to \(Limits.poolWeight)")
        }
        if !(0..<Limits.poolTiers).contains(tier) {
            add("\(path).tier", "\(tier) is no tier; give 0 (asked first) to \(Limits.poolTiers - 1)")
        }
        return problems
    }
}

extension Rotation.Settings {
    /// Each number with its name and its bounds.
    private var bounds: [(name: String, value: Int64, range: ClosedRange<Int64>)] {
        [
            ("attempts", Int64(attempts), 1...Int64(Limits.poolAttempts)),
            ("failures", Int64(failures), 1...100),
            ("error_percent", Int64(errorPercent), 1...100),
            ("error_minimum", Int64(errorMinimum), 2...1_000),
            ("error_window_ms", errorWindowMs, 1_000...600_000),
            ("cooldown_ms", cooldownMs, 1_000...Limits.poolCooldownMs),
            ("longest_cooldown_ms", longestCooldownMs, 1_000...Limits.poolCooldownMs),
            ("sticky_idle_ms", stickyIdleMs, 1_000...86_400_000),
            ("queue_length", Int64(queueLength), 0...Int64(Limits.poolQueue)),
            ("queue_ms", queueMs, 0...Limits.poolQueueMs),
            ("spill_ms", spillMs, 0...Limits.poolQueueMs),
        ]
    }

    fileprivate func problems() -> [Rotation.Problem] {
        var problems = bounds.filter { !$0.range.contains($0.value) }.map { bound in
            Rotation.Problem(
                path: "settings.\(bound.name)",
                message: "\(bound.value) is out of bounds; give \(bound.range.lowerBound) to \(bound.range.upperBound)")
        }
        if problems.isEmpty, longestCooldownMs < cooldownMs {
            problems.append(
                Rotation.Problem(
                    path: "settings.longest_cooldown_ms",
                    message: "it is shorter than cooldown_ms (\(cooldownMs)); give at least as much"))
        }
        return problems
    }
}
