import MeshModel
import MeshNode
import MeshWire
import Testing

/// Two linked nodes. Alice's provider `lab` has its home at the north one; her workers dial either.
private struct Mesh: Sendable {
    var north: TestNode
    var south: TestNode
    /// The token the provider was made with.
    var first: String

    static func open(_ body: @escaping @Sendable (Mesh) async throws -> Void) async throws {
        let southern = try await PreparedNode("south")
        try await withNode("north", allow: [southern.summary.nodeID]) { north in
            let peer = "\(north.nodeID)@127.0.0.1:\(north.linkPort)"
            try await withNode("south", prepared: southern, peers: [peer]) { south in
                try await north.user("alice")
                let first = try await north.provider("lab", owner: "alice")
                let mesh = Mesh(north: north, south: south, first: first)
                for node in [north, south] { try await mesh.isGood(first, at: node) }
                try await body(mesh)
            }
        }
    }

    /// A new token with these terms.
    func add(_ terms: String) async throws -> (id: String, token: String, document: JSONValue) {
        let made = try await north.administer("POST", "providers/alice/lab/tokens", terms)
        return (made["token"]?["id"]?.text ?? "", made["registration_token"]?.text ?? "", made)
    }

    func tokens() async throws -> [JSONValue] {
        try await north.administer("GET", "providers/alice/lab/tokens")["tokens"]?.elements ?? []
    }

    func attach(_ token: String, at node: TestNode, client: String = "w1") async throws -> ScriptedWorker {
        try await isGood(token, at: node)
        return try await ScriptedWorker.attach(
            node.buyerPort, provider: "lab", token: token, client: client, username: "alice")
    }

    /// Waits until the node has heard of the token. Asks seldom: refusals are counted.
    func isGood(_ token: String, at node: TestNode, provider: String = "lab") async throws {
        try await eventually("the token is good", within: 20) {
            if try await tries(token, at: node, provider: provider).status == 200 { return true }
            try await Task.sleep(for: .milliseconds(50))
            return false
        }
    }

    /// What the dry run says.
    func tries(_ token: String, at node: TestNode, provider: String = "lab") async throws -> Reply {
        let body: JSONValue = ["provider_id": .string(provider), "registration_token": .string(token)]
        return try await Buyer(port: node.buyerPort, key: nil).call(
            "POST", "/api/u/alice/coderai/register", body: String(decoding: body.bytes, as: UTF8.self))
    }

    /// What a WebSocket is answered.
    func dials(_ token: String, at node: TestNode, provider: String = "lab") async throws -> Reply {
        let (reply, connection) = try await ScriptedWorker.dial(
            node.buyerPort, path: "/api/u/alice/coderai/wss",
            headers: ScriptedWorker.identity(provider, token: token, client: "dial", username: "alice"))
        connection.close()
        return reply
    }

    func isAlive(_ worker: ScriptedWorker) async throws {
        worker.say(#"{"op":"heartbeat","request_id":"alive"}"#)
        #expect(try await worker.event("heartbeat").id == "alive")
    }

    func isClosedForItsToken(_ worker: ScriptedWorker) async throws {
        let close = try await worker.closed()
        #expect(close.code == 1008)
        #expect(close.reason == "this registration token is no longer valid")
    }
}

@Suite(.serialized, .nodeLog) struct TokenTests {
    @Test func aFleetWithTheOldTokenDoesNotLockOutTheNewOne() async throws {
        try await Mesh.open { mesh in
            let made = try await mesh.north.administer(
                "POST", "providers/alice/lab/rotate-token", #"{"overlap_seconds":0}"#)
            let new = try #require(made["registration_token"]?.text)
            for number in 0..<(2 * Limits.workerRefusalsPerMinute) {
                let refused = try await mesh.tries(mesh.first, at: mesh.north)
                let isMany = number >= Limits.workerRefusalsPerMinute
                #expect(refused.status == (isMany ? 429 : 403), "attempt \(number)")
                #expect((refused["retry-after"] != nil) == isMany)
            }
            #expect(try await mesh.tries(new, at: mesh.north).status == 200)
            #expect(try await mesh.dials(new, at: mesh.north).status == 101)
            // Whoever tries ever other tokens is told to wait, and keeps nobody out who has a good one.
            for number in 0..<Limits.workerRefusalsPerCaller {
                _ = try await mesh.tries("aisbf_reg_\(number)", at: mesh.north)
            }
            #expect(try await mesh.tries("aisbf_reg_again", at: mesh.north).status == 429)
            #expect(try await mesh.dials("aisbf_reg_again", at: mesh.north).status == 429)
            #expect(try await mesh.tries(new, at: mesh.north).status == 200)
            #expect(try await mesh.dials(new, at: mesh.north).status == 101)
        }
    }

    @Test func tokensAreAddedListedAndRemoved() async throws {
        try await Mesh.open { mesh in
            let terms =
                #"{"label":"rig 2","expires_in_seconds":3600,"allowed_nodes":["\#(mesh.south.nodeID)","\#(mesh.south.nodeID)"]}"#
            let added = try await mesh.add(terms)
            #expect(added.id.count == 12 && added.token.hasPrefix("aisbf_reg_"))
            #expect(added.document["worker"]?["broker"]?["registration_token"]?.text == added.token)
            let list = try await mesh.tokens()
            #expect(list.compactMap { $0["label"]?.text } == ["first", "rig 2"])
            #expect(list.last?["id"]?.text == added.id)
            #expect(list.last?["key"]?.text?.hasPrefix(added.id) == true)
            #expect(list.last?["allowed_nodes"] == .strings([mesh.south.nodeID]))
            #expect(list.last?["imported"] == false)
            let life = (list.last?["not_after"]?.integer ?? 0) - (list.last?["created_at"]?.integer ?? 0)
            #expect((3_599...3_601).contains(life))
            #expect(!String(decoding: JSONValue.array(list).bytes, as: UTF8.self).contains(added.token))
            // The beginning of an id is enough.
            let short = String(added.id.prefix(10))
            _ = try await mesh.north.administer("DELETE", "providers/alice/lab/tokens/\(short)")
            #expect(try await mesh.tokens().count == 1)
            let again = try await mesh.north.admin.call("DELETE", "/api/admin/v1/providers/alice/lab/tokens/\(short)")
            #expect(again.status == 404)
        }
    }

    @Test func termsThatCannotBeAreRefusedAndNothingIsStored() async throws {
        try await Mesh.open { mesh in
            for terms in [
                #"{"expires_in_seconds":0}"#, #"{"expires_in_seconds":-5}"#, #"{"expires_in_seconds":"1h"}"#,
                #"{"expires_in_seconds":9223372036854775807}"#, #"{"allowed_nodes":["north"]}"#,
                #"{"allowed_nodes":"any"}"#, #"{"allowed_nodes":[7]}"#, #"{"import":"too-short"}"#,
                #"{"import":17}"#, #"{"import":"\#(mesh.first)"}"#,
                #"{"label":"\#(String(repeating: "x", count: 129))"}"#,
            ] {
                let reply = try await mesh.north.admin.call(
                    "POST", "/api/admin/v1/providers/alice/lab/tokens", body: terms)
                #expect(reply.status == 400, "\(terms): \(reply.text)")
                #expect(!reply.text.contains(mesh.first))
            }
            let other = try await mesh.north.admin.call("POST", "/api/admin/v1/providers/alice/none/tokens", body: "{}")
            #expect(other.status == 404)
            #expect(try await mesh.tokens().count == 1)
        }
    }

    /// Sixteen tokens that each name many nodes do not fit the record that has to tell of them.
    @Test func anAdvertThatWouldNotFitIsRefused() async throws {
        try await Mesh.open { mesh in
            var stored = 1
            var refusal: Reply?
            while refusal == nil, stored < 40 {
                let nodes = (0..<32).map { _ in "\"\(PreparedNode.strangerID())\"" }.joined(separator: ",")
                let reply = try await mesh.north.admin.call(
                    "POST", "/api/admin/v1/providers/alice/lab/tokens", body: #"{"allowed_nodes":[\#(nodes)]}"#)
                if reply.status == 201 { stored += 1 } else { refusal = reply }
            }
            #expect(refusal?.status == 400)
            #expect(refusal?.errorMessage.contains("4096") == true)
            #expect(try await mesh.tokens().count == stored)
            // What was stored is told.
            let last = try await mesh.add("{}").token
            try await mesh.isGood(last, at: mesh.south)
        }
    }

    @Test func removingATokenClosesItsSessionsAtEveryNodeAndNoOthers() async throws {
        try await Mesh.open { mesh in
            let second = try await mesh.add(#"{"label":"second"}"#)
            let kept = try await mesh.attach(mesh.first, at: mesh.south, client: "kept")
            let far = try await mesh.attach(second.token, at: mesh.south, client: "far")
            let near = try await mesh.attach(second.token, at: mesh.north, client: "near")
            _ = try await mesh.north.administer("DELETE", "providers/alice/lab/tokens/\(second.id)")
            try await mesh.isClosedForItsToken(far)
            try await mesh.isClosedForItsToken(near)
            try await mesh.isAlive(kept)
            for node in [mesh.north, mesh.south] { #expect(try await mesh.dials(second.token, at: node).status == 403) }
        }
    }

    @Test func anExpiredTokenEndsItsSessionAtEveryNodeAndIsRefused() async throws {
        try await Mesh.open { mesh in
            let brief = try await mesh.add(#"{"expires_in_seconds":4}"#)
            let far = try await mesh.attach(brief.token, at: mesh.south, client: "far")
            let near = try await mesh.attach(brief.token, at: mesh.north, client: "near")
            try await mesh.isClosedForItsToken(far)
            try await mesh.isClosedForItsToken(near)
            for node in [mesh.north, mesh.south] { #expect(try await mesh.dials(brief.token, at: node).status == 403) }
            try await eventually("nothing of its workers is left") {
                try await mesh.south.admin.call("GET", "/v1/models").document?["data"]?.elements?.isEmpty ?? false
            }
        }
    }

    @Test func aTokenForOneNodeIsRefusedAtTheOther() async throws {
        try await Mesh.open { mesh in
            let southern = try await mesh.add(#"{"allowed_nodes":["\#(mesh.south.nodeID)"]}"#)
            let worker = try await mesh.attach(southern.token, at: mesh.south)
            #expect(try await mesh.dials(southern.token, at: mesh.north).status == 403)
            #expect(try await mesh.tries(southern.token, at: mesh.north).status == 403)
            // The other node accepts what the allowed one hosts.
            try await mesh.north.offers("lab/m1", to: mesh.north.admin)
            try await mesh.isAlive(worker)
        }
    }

    @Test func rotationWithAnOverlapLetsBothInUntilItEnds() async throws {
        try await Mesh.open { mesh in
            let old = try await mesh.attach(mesh.first, at: mesh.south, client: "old")
            let rotated = try await mesh.north.administer(
                "POST", "providers/alice/lab/rotate-token", #"{"overlap_seconds":4}"#)
            let token = try #require(rotated["registration_token"]?.text)
            let new = try await mesh.attach(token, at: mesh.south, client: "new")
            // The old one is good still, at its node and at another.
            try await mesh.isAlive(old)
            #expect(try await mesh.tries(mesh.first, at: mesh.north).status == 200)
            try await mesh.isClosedForItsToken(old)
            try await mesh.isAlive(new)
            for node in [mesh.north, mesh.south] { #expect(try await mesh.dials(mesh.first, at: node).status == 403) }
        }
    }

    @Test func rotationWithoutOverlapEndsAllTokensAtOnce() async throws {
        try await Mesh.open { mesh in
            let second = try await mesh.add("{}")
            let workers = [
                try await mesh.attach(mesh.first, at: mesh.south, client: "one"),
                try await mesh.attach(second.token, at: mesh.south, client: "two"),
            ]
            _ = try await mesh.north.administer("POST", "providers/alice/lab/rotate-token", "{}")
            for worker in workers { try await mesh.isClosedForItsToken(worker) }
            #expect(try await mesh.tokens().compactMap { $0["label"]?.text } == ["rotated"])
        }
    }
}

@Suite(.serialized, .nodeLog) struct ImportedTokenAdmissionTests {
    private static let minted = "tok_3f9a7c-minted-elsewhere"

    @Test func anImportedTokenIsAdmittedAtEveryNode() async throws {
        try await Mesh.open { mesh in
            let added = try await mesh.add(#"{"label":"old rigs","import":"\#(Self.minted)"}"#)
            #expect(added.document["registration_token"] == nil && added.document["worker"] == nil)
            #expect(!String(decoding: added.document.bytes, as: UTF8.self).contains(Self.minted))
            #expect(try await mesh.tokens().last?["imported"] == true)
            let far = try await mesh.attach(Self.minted, at: mesh.south, client: "far")
            let near = try await mesh.attach(Self.minted, at: mesh.north, client: "near")
            // The token of the handshake is the one a message may repeat.
            far.say(#"{"op":"register","request_id":"again","registration_token":"\#(Self.minted)"}"#)
            #expect(try await far.event("registered").id == "again")
            try await mesh.north.offers("lab/m1", to: mesh.north.admin)
            #expect(try await mesh.tries(Self.minted, at: mesh.south).status == 200)
            _ = try await mesh.north.administer("DELETE", "providers/alice/lab/tokens/\(added.id)")
            try await mesh.isClosedForItsToken(far)
            try await mesh.isClosedForItsToken(near)
            // It is remembered as derived, and not good any more.
            for node in [mesh.north, mesh.south] { #expect(try await mesh.dials(Self.minted, at: node).status == 403) }
        }
    }

    /// More than there are refusals in a minute, all from one address, before anything is remembered.
    @Test func manyWorkersWithOneImportedTokenComeAtOnce() async throws {
        try await Mesh.open { mesh in
            _ = try await mesh.add(#"{"import":"\#(Self.minted)"}"#)
            // A node that knows the token that was added later knows this one, and was not asked for it.
            try await mesh.isGood(try await mesh.add("{}").token, at: mesh.south)
            let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<100 { group.addTask { try await mesh.dials(Self.minted, at: mesh.south).status } }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(statuses.count == 100)
            #expect(statuses.allSatisfy { $0 == 101 }, "\(statuses.filter { $0 != 101 })")
        }
    }

    @Test func aWrongGuessIsTheSameRefusalWithAndWithoutImportedTokens() async throws {
        try await Mesh.open { mesh in
            _ = try await mesh.north.provider("plain", owner: "alice")
            _ = try await mesh.add(#"{"import":"\#(Self.minted)"}"#)
            try await mesh.isGood(Self.minted, at: mesh.south)
            let replies = [
                try await mesh.dials("tok_3f9a7c-minted-elsewherf", at: mesh.south),
                try await mesh.dials(Self.minted, at: mesh.south, provider: "plain"),
                try await mesh.dials(Self.minted, at: mesh.south, provider: "none"),
                try await mesh.dials("short", at: mesh.south),
                try await mesh.tries("tok_3f9a7c-minted-elsewherf", at: mesh.south),
                try await mesh.tries(String(repeating: "x", count: 600), at: mesh.south),
            ]
            #expect(replies.map(\.status) == Array(repeating: 403, count: replies.count))
            #expect(Set(replies.map(\.errorMessage)).count == 1)
        }
    }

    @Test func theSameTokenTwiceIsAConflict() async throws {
        try await Mesh.open { mesh in
            _ = try await mesh.add(#"{"import":"\#(Self.minted)"}"#)
            let again = try await mesh.north.admin.call(
                "POST", "/api/admin/v1/providers/alice/lab/tokens", body: #"{"import":"\#(Self.minted)"}"#)
            #expect(again.status == 409)
            // Another provider may have it: there it is another key.
            _ = try await mesh.north.provider("other", owner: "alice")
            let other = try await mesh.north.admin.call(
                "POST", "/api/admin/v1/providers/alice/other/tokens", body: #"{"import":"\#(Self.minted)"}"#)
            #expect(other.status == 201)
        }
    }

    /// A guess at an imported token costs work, whatever it is: there are few at once, and one a second then.
    @Test func whoGuessesWithoutPauseDelaysTheRightTokenAndDoesNotKeepItOut() async throws {
        try await Mesh.open { mesh in
            _ = try await mesh.add(#"{"import":"\#(Self.minted)"}"#)
            // A node that knows the token that was added later knows this one, and was not asked for it.
            let later = try await mesh.add("{}")
            try await mesh.isGood(later.token, at: mesh.south)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<(2 * Limits.importedTokenGuesses) {
                    group.addTask {
                        let status = try await mesh.tries("no-such-token-at-all-\(number)", at: mesh.south).status
                        #expect([403, 429].contains(status))
                    }
                }
                try await group.waitForAll()
            }
            try await eventually("the right token's turn", within: 20) {
                try await mesh.dials(Self.minted, at: mesh.south).status == 101
            }
            #expect(try await mesh.tries(Self.minted, at: mesh.south).status == 200)
            // Tokens that cost nothing to look at are looked at, and other nodes and providers have their own count.
            #expect(try await mesh.tries(mesh.first, at: mesh.south).status == 200)
            #expect(try await mesh.tries(Self.minted, at: mesh.north).status == 200)
        }
    }
}

@Suite(.serialized, .nodeLog) struct ConcurrencyTests {
    @Test func aWorkerTakesNoMoreThanItsSlots() async throws {
        try await Shop.open(capabilities: #"{"slots":1}"#) { shop in
            let first = try await shop.buyer.start(#"{"model":"lab/m1"}"#)
            let held = try await shop.worker.request("chat.completions")
            let refused = try await shop.buyer.ask(model: "lab/m1")
            #expect(refused.status == 503 && refused.errorCode == "worker_busy")
            let sibling = try await ScriptedWorker.attach(
                shop.node.buyerPort, provider: "lab", token: shop.token, client: "w2")
            // Every one goes to the sibling, whoever's turn it is.
            for _ in 0..<6 {
                let connection = try await shop.buyer.start(#"{"model":"lab/m1"}"#)
                sibling.answer(try await sibling.request("chat.completions"), payload: "{}")
                #expect(try await connection.reply().status == 200)
            }
            shop.worker.answer(held, payload: #"{"id":"first"}"#)
            #expect(try await first.reply().text == #"{"id":"first"}"#)
        }
    }

    /// The hosting node counts what its own buyers and other nodes' ask for together.
    @Test func theHostingNodeCountsForwardedRequestsToo() async throws {
        let southern = try await PreparedNode("south")
        try await withNode("north", allow: [southern.summary.nodeID]) { north in
            let peer = "\(north.nodeID)@127.0.0.1:\(north.linkPort)"
            try await withNode("south", prepared: southern, peers: [peer]) { south in
                let made = try await north.administer(
                    "POST", "providers", #"{"provider_id":"lab","access":"public","max_concurrency":1}"#)
                let token = try #require(made["registration_token"]?.text)
                let worker = try await eventually("the worker is admitted") {
                    try? await ScriptedWorker.attach(north.buyerPort, provider: "lab", token: token)
                }
                try await south.user("bob")
                let bob = try await south.key(of: "bob")
                try await south.offers("lab/m1", to: bob)
                let own = try await north.admin.start(#"{"model":"lab/m1"}"#)
                let first = try await worker.request("chat.completions")
                let refused = try await bob.ask(model: "lab/m1")
                #expect(refused.status == 503)
                #expect(refused.errorCode == "worker_busy")
                #expect(refused["retry-after"] == "1")
                worker.answer(first, payload: "{}")
                #expect(try await own.reply().status == 200)
                let forwarded = try await bob.start(#"{"model":"lab/m1"}"#)
                let second = try await worker.request("chat.completions")
                #expect(try await north.admin.ask(model: "lab/m1").errorCode == "worker_busy")
                worker.answer(second, payload: "{}")
                #expect(try await forwarded.reply().status == 200)
            }
        }
    }

    @Test func aProviderTakesNoMoreThanItSaysOverAllItsWorkers() async throws {
        try await withNode { node in
            let made = try await node.administer(
                "POST", "providers", #"{"provider_id":"lab","access":"public","max_concurrency":2}"#)
            let token = try #require(made["registration_token"]?.text)
            #expect(made["provider"]?["max_concurrency"]?.integer == 2)
            var workers: [ScriptedWorker] = []
            for client in ["a", "b", "c"] {
                workers.append(
                    try await eventually("\(client) is admitted") {
                        try? await ScriptedWorker.attach(node.buyerPort, provider: "lab", token: token, client: client)
                    })
            }
            try await node.offers("lab/m1", to: node.admin)
            let running = [
                try await node.admin.start(#"{"model":"lab/m1"}"#), try await node.admin.start(#"{"model":"lab/m1"}"#),
            ]
            try await eventually("both are at workers") {
                try await node.admin.call("GET", "/api/coderai/broker/sessions").document?["sessions"]?.elements?
                    .reduce(0) { $0 + ($1["in_flight"]?.integer ?? 0) } == 2
            }
            let refused = try await node.admin.ask(model: "lab/m1")
            #expect(refused.status == 503)
            #expect(refused.errorCode == "worker_busy")
            #expect(refused["retry-after"] == "1")
            // A buyer who leaves makes room.
            running[0].close()
            let connection = try await eventually("room for another") { () -> RawConnection? in
                let connection = try await node.admin.start(#"{"model":"lab/m1"}"#)
                let waiting = try await eventually("an answer, or a place") { () -> Bool? in
                    if connection.received > 0 { return false }
                    let sessions = try await node.admin.call("GET", "/api/coderai/broker/sessions")
                    let busy = sessions.document?["sessions"]?.elements?
                        .reduce(0) { $0 + ($1["in_flight"]?.integer ?? 0) }
                    return busy == 2 && connection.received == 0 ? true : nil
                }
                return waiting ? connection : nil
            }
            connection.close()
            running[1].close()
        }
    }
}
