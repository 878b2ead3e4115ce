import MeshModel
import MeshRouting
import Testing

/// How a pool is written, and what is wrong with one.
@Suite struct RotationTests {
    @Test(arguments: [
        ("lab", Rotation.Member.Target.provider("lab", model: nil)),
        ("lab/qwen", .provider("lab", model: "qwen")),
        ("lab/org/name", .provider("lab", model: "org/name")),
        ("seller@b/lab", .provider("seller@b/lab", model: nil)),
        ("seller@b/lab/org/name", .provider("seller@b/lab", model: "org/name")),
        ("key:0011/qwen", .provider("key:0011", model: "qwen")),
        ("rotation/fast", .rotation("fast")),
    ])
    func membersAreWrittenAsModelsAre(text: String, target: Rotation.Member.Target) {
        #expect(Rotation.Member.Target(text) == target)
        #expect(target.text == text)
    }

    @Test(arguments: ["", "/", "lab/", "/model", "rotation/", "seller@b", "seller@b/", "seller@b//x", "seller@b/lab/"])
    func halfAMemberIsNone(text: String) { #expect(Rotation.Member.Target(text) == nil) }

    // MARK: What is wrong

    static func rotation(_ name: String = "fast", _ members: String...) -> Rotation {
        Rotation(name: name, members: members.compactMap { Rotation.Member.Target($0).map { Rotation.Member($0) } })
    }

    static func problems(_ rotation: Rotation, _ others: Rotation...) -> [String] {
        rotation.problems { name in others.first { $0.name == name } }.map(\.description)
    }

    @Test func aGoodOneHasNoProblems() {
        let inner = Self.rotation("inner", "lab/x", "other/y")
        #expect(Self.problems(Self.rotation("fast", "lab", "rotation/inner"), inner) == [])
    }

    @Test func everythingWrongIsToldAtOnceAndWhere() {
        var rotation = Self.rotation("Fast!", "lab/x", "auto/cheap", "lab/x", "third")
        rotation.members[0].weight = -1
        rotation.members[3].tier = 8
        rotation.model = ""
        rotation.settings.attempts = 0
        rotation.settings.cooldownMs = 5
        let problems = rotation.problems { _ in nil }
        #expect(
            problems.map(\.path) == [
                "name", "model", "members[0].weight", "members[1]", "members[2]", "members[3].tier",
                "settings.attempts", "settings.cooldown_ms",
            ])
        #expect(problems[2].message == "-1 is no weight; give 0 (no new requests) to 10000")
        #expect(problems[3].message == "'auto/cheap' is a policy; members are providers, their models or rotations")
        #expect(problems[4].message == "'lab/x' is a member already; add its weight to that one's")
        #expect(problems[6].message == "0 is out of bounds; give 1 to 8")
    }

    @Test func nobodyAndTooMany() {
        #expect(
            Self.problems(Self.rotation()) == ["members: a rotation needs at least one member, such as 'lab/model'"])
        let many = Rotation(name: "many", members: (0..<65).map { Rotation.Member(.provider("p\($0)", model: nil)) })
        #expect(Self.problems(many) == ["members: 65 members; at most 64 can share one rotation"])
        // Each within its bounds, and together not.
        let one = Rotation(name: "one", members: (0..<40).map { Rotation.Member(.provider("p\($0)", model: nil)) })
        let two = Rotation(name: "two", members: (0..<40).map { Rotation.Member(.provider("q\($0)", model: nil)) })
        #expect(Self.problems(Self.rotation("both", "rotation/one", "rotation/two"), one, two).count == 1)
    }

    @Test func theLongestRestIsNotTheShorterOne() {
        var rotation = Self.rotation("fast", "lab")
        rotation.settings.longestCooldownMs = 30_000
        #expect(
            Self.problems(rotation) == [
                "settings.longest_cooldown_ms: it is shorter than cooldown_ms (60000); give at least as much"
            ])
    }

    // MARK: Rotations in rotations

    @Test func aCircleIsToldAsOne() {
        let b = Self.rotation("b", "lab", "rotation/c")
        let c = Self.rotation("c", "rotation/a")
        #expect(
            Self.problems(Self.rotation("a", "lab", "rotation/b"), b, c) == [
                "members[1]: 'a' → 'b' → 'c' → 'a' goes round in a circle; take one of them out"
            ])
        #expect(Self.problems(Self.rotation("a", "rotation/a")).count == 1)
    }

    @Test func oneThatIsNotThereIsToBeCreatedFirst() {
        #expect(
            Self.problems(Self.rotation("a", "rotation/b")) == [
                "members[0]: there is no rotation 'b' in this scope; create it first"
            ])
    }

    @Test func theDepthIsBounded() {
        let chain = (0..<5).map { Self.rotation("r\($0)", "lab", "rotation/r\($0 + 1)") } + [Self.rotation("r5", "lab")]
        let others = { (name: String) in chain.first { $0.name == name } }
        #expect(chain[2].problems(others: others) == [])
        #expect(
            chain[0].problems(others: others).map(\.message) == [
                "'r4' stands 4 rotations deep; at most 4 may stand in each other"
            ])
    }

    /// Sixty-four rotations that all hold each other are looked at for a moment only, and so is what is made of them.
    @Test func thousandsOfWaysAreNotWalked() {
        let names = (0..<64).map { "r\($0)" }
        let all = names.map { name in
            Rotation(name: name, members: names.filter { $0 != name }.map { Rotation.Member(.rotation($0)) })
        }
        let others = { (name: String) in all.first { $0.name == name } }
        #expect(!all[0].problems(others: others).isEmpty)
        let tree = PoolTree(all[0], others: others)
        #expect(tree.leaves.count <= Limits.poolMembers + 1)
        #expect(tree.leaves.allSatisfy { $0.never == .loop })
    }

    /// What came to stand inside itself after it was checked takes no request, and the rest goes on.
    @Test func aCircleAtWorkIsALeafThatTakesNothing() {
        let inner = Self.rotation("inner", "lab/x", "rotation/pool")
        var rotation = Self.rotation("pool", "other/y", "rotation/inner", "rotation/gone")
        rotation.settings = PoolRig.plain()
        var rig = PoolRig(rotation, others: [inner])
        let leaves = rig.pools.tree(rig.id)?.leaves ?? []
        #expect(leaves.map(\.text) == ["other/y", "rotation/gone", "lab/x", "rotation/pool"])
        #expect((0..<4).map { rig.reason($0) } == [nil, .unauthorised, nil, .loop])
        #expect(rig.counts(100) == [50, 0, 50, 0])
    }

    @Test func membersWithoutAModelHaveThePools() {
        var rotation = Self.rotation("fast", "lab", "other/y")
        rotation.model = "x"
        #expect(PoolTree(rotation) { _ in nil }.leaves.map(\.model) == ["x", "y"])
    }
}
