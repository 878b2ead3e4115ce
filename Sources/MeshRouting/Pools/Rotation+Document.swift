import MeshModel
package import MeshWire

extension Rotation {
    private static let known = ["name", "members", "model", "settings"]
    private static let knownOfMembers = ["target", "weight", "tier", "enabled"]

    /// Reads a rotation as owners write it (Docs/Reference/rotations.md), and says everything that is wrong with its form
    /// at once. What it means is for `problems(others:)`.
    package static func read(_ document: JSONValue) -> (rotation: Rotation, problems: [Problem]) {
        var rotation = Rotation(name: document["name"]?.text ?? "", members: [])
        var problems: [Problem] = []
        func fail(_ path: String, _ message: String) { problems.append(Problem(path: path, message: message)) }
        guard let fields = document.members else {
            return (rotation, [Problem(path: "rotation", message: "it must be an object")])
        }
        for field in fields where !known.contains(field.name) {
            fail(
                field.name.cut(toUTF8Bytes: 64),
                "a rotation has \(known.joined(separator: ", "))\(NearName.hint(for: field.name, among: known))")
        }
        switch document["model"] {
        case nil, .null?: break
        case .string(let model)?: rotation.model = model
        case .boolean?, .number?, .array?, .object?: fail("model", "it must be text")
        }
        let members = document["members"]?.elements
        if members == nil { fail("members", "it must be a list of members, such as [\"lab/model\"]") }
        for (number, value) in (members ?? []).prefix(Limits.poolMembers + 1).enumerated() {
            switch Self.member(value) {
            case .success(let member): rotation.members.append(member)
            case .failure(let problem):
                fail("members[\(number)]\(problem.path.isEmpty ? "" : ".\(problem.path)")", problem.message)
            }
        }
        problems += rotation.settings.read(document["settings"] ?? .null)
        return (rotation, problems)
    }

    private struct MemberProblem: Error {
        var path = ""
        var message: String
    }

    /// `"lab/model"`, or an object with `target` and more.
    private static func member(_ value: JSONValue) -> Result<Member, MemberProblem> {
        let text: String? = value.text ?? value["target"]?.text
        guard let text, let target = Member.Target(text) else {
            return .failure(
                MemberProblem(
                    message: "it names no member; write 'lab', 'lab/model', 'seller@node/lab/model' or 'rotation/NAME'")
            )
        }
        var member = Member(target)
        for field in value.members ?? [] where field.value != .null {
            switch field.name {
            case "target": break
            case "weight", "tier":
                guard let number = field.value.integer.map({ Int(clamping: $0) }) else {
                    return .failure(MemberProblem(path: field.name, message: "it must be a whole number"))
                }
                if field.name == "weight" { member.weight = number } else { member.tier = number }
            case "enabled":
                guard let flag = field.value.flag else {
                    return .failure(MemberProblem(path: field.name, message: "it must be true or false"))
                }
                member.isEnabled = flag
            default:
                return .failure(
                    MemberProblem(
                        path: field.name.cut(toUTF8Bytes: 64),
                        message: "a member has \(knownOfMembers.joined(separator: ", "))"))
            }
        }
        return .success(member)
    }

    /// As `read` reads it, without what is as usual.
    package var document: JSONValue {
        var fields: [JSONValue.Member] = [.init("name", .string(name))]
        if let model { fields.append(.init("model", .string(model))) }
        fields.append(
            .init(
                "members",
                .array(
                    members.map { member in
                        var fields: [JSONValue.Member] = [
                            .init("target", .string(member.target.text)), .init("weight", .integer(member.weight)),
                        ]
                        if member.tier != 0 { fields.append(.init("tier", .integer(member.tier))) }
                        if !member.isEnabled { fields.append(.init("enabled", .boolean(false))) }
                        return .object(fields)
                    })))
        let settings = settings.document
        if !settings.isEmpty { fields.append(.init("settings", .object(settings))) }
        return .object(fields)
    }
}

extension Rotation.Settings {
    private static let numbers: [(name: String, path: any WritableKeyPath<Self, Int> & Sendable)] = [
        ("attempts", \.attempts), ("failures", \.failures), ("error_percent", \.errorPercent),
        ("error_minimum", \.errorMinimum), ("queue_length", \.queueLength),
    ]
    private static let times: [(name: String, path: any WritableKeyPath<Self, Int64> & Sendable)] = [
        ("error_window_ms", \.errorWindowMs), ("cooldown_ms", \.cooldownMs),
        ("longest_cooldown_ms", \.longestCooldownMs), ("sticky_idle_ms", \.stickyIdleMs), ("queue_ms", \.queueMs),
        ("spill_ms", \.spillMs),
    ]
    private static let sticky = "sticky"
    private static let known = numbers.map(\.name) + times.map(\.name) + [sticky]

    fileprivate mutating func read(_ document: JSONValue) -> [Rotation.Problem] {
        var problems: [Rotation.Problem] = []
        func fail(_ name: String, _ message: String) {
            problems.append(Rotation.Problem(path: "settings.\(name.cut(toUTF8Bytes: 64))", message: message))
        }
        if document == .null { return [] }
        guard let fields = document.members else {
            return [Rotation.Problem(path: "settings", message: "it must be an object")]
        }
        for field in fields where field.value != .null {
            if field.name == Self.sticky {
                guard let sticky = field.value.text.flatMap({ Rotation.Stickiness(rawValue: $0) }) else {
                    fail(field.name, "it is one of off, prefix, user")
                    continue
                }
                stickiness = sticky
            } else if let number = Self.numbers.first(where: { $0.name == field.name }) {
                guard let value = field.value.integer else {
                    fail(field.name, "it must be a whole number")
                    continue
                }
                self[keyPath: number.path] = Int(clamping: value)
            } else if let time = Self.times.first(where: { $0.name == field.name }) {
                guard let value = field.value.integer else {
                    fail(field.name, "it must be a whole number of milliseconds")
                    continue
                }
                self[keyPath: time.path] = value
            } else {
                fail(field.name, "it is not known\(NearName.hint(for: field.name, among: Self.known))")
            }
        }
        return problems
    }

    /// What is not as usual.
    fileprivate var document: [JSONValue.Member] {
        let usual = Self()
        var fields: [JSONValue.Member] = []
        for number in Self.numbers where self[keyPath: number.path] != usual[keyPath: number.path] {
            fields.append(.init(number.name, .integer(self[keyPath: number.path])))
        }
        for time in Self.times where self[keyPath: time.path] != usual[keyPath: time.path] {
            fields.append(.init(time.name, .integer(self[keyPath: time.path])))
        }
        if stickiness != usual.stickiness { fields.append(.init(Self.sticky, .string(stickiness.rawValue))) }
        return fields
    }
}
