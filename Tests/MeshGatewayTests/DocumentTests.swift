import MeshModel
import MeshSessions
import MeshWire
import Testing

@testable import MeshGateway
@testable import MeshRuntime

/// What programs read: names, order and kinds of all fields. A change here is a change of the administration API
/// (Docs/Reference/admin-api.md).
@Suite struct DocumentTests {
    private static let node = PublicKey(Bytes32(high: .zero, low: Bytes16(high: 0, low: 1)))
    private static let operatorKey = PublicKey(Bytes32(high: .zero, low: Bytes16(high: 0, low: 2)))
    private static let time = Timestamp(milliseconds: 1_700_000_000_500)
    private static let offer = WorkerOffer(
        models: [WorkerModel(id: "m", contextTokens: 4_096)], endpoints: ["v1/files"],
        hardware: .init(gpuClass: "RTX", gpuCount: 2, totalVramMb: 48), slots: 3,
        speed: WorkerSpeed(tokensPerSecond: 31, firstContentMs: 250, latencyMs: 4_100), takesUploads: true)

    private static func id(_ kind: KeyText, _ key: PublicKey) -> String { kind.text(key.bytes) }
    private static var nodeID: String { id(.node, node) }
    private static var operatorID: String { id(.operatorKey, operatorKey) }

    private static func text(_ value: JSONValue) -> String { String(decoding: value.bytes, as: UTF8.self) }

    @Test func aNode() {
        let view = NodeView(
            facts: .init(
                key: Self.node, operatorKey: Self.operatorKey, name: "n", network: NetworkID(.zero),
                apiURL: "http://a", linkAddresses: ["b:1"], software: "s", startedAt: Self.time),
            uptimeSeconds: 7, isDraining: false, links: 1, members: 2, records: 3, workers: 4, requestsInFlight: 5,
            clockOffsetMs: -6, isClockTrusted: true,
            store: StoreView(problem: "disk_full", since: Self.time, freeBytes: 8),
            certificates: [
                CertificateView(
                    use: "api", file: "/f", names: ["x"], notBefore: nil, notAfter: Self.time, loadedAt: Self.time,
                    problem: nil)
            ])
        #expect(
            Self.text(view.document) == """
                {"node_id":"\(Self.nodeID)","operator_id":"\(Self.operatorID)","name":"n","software":"s",\
                "network":"\(NetworkID(.zero))","api_url":"http://a","link_addresses":["b:1"],"started_at":1700000000,\
                "uptime_seconds":7,"draining":false,"links":1,"members":2,"records":3,"workers":4,\
                "requests_in_flight":5,"clock_offset_ms":-6,"clock_ok":true,\
                "store":{"writable":false,"problem":"disk_full","since":1700000000,"free_bytes":8},\
                "certificates":[{"use":"api","file":"/f","names":["x"],"not_before":null,"not_after":1700000000,\
                "loaded_at":1700000000,"problem":null}]}
                """)
    }

    @Test(
        arguments: [
            ([], "none", false), ([true, true], "out", true), ([false], "in", true), ([false, true], "both", true),
        ] as [([Bool], String, Bool)])
    func aPeer(dialled: [Bool], direction: String, isLinked: Bool) {
        let view = PeerView(
            node: Self.node, name: "n", operatorKey: Self.operatorKey, apiURL: "u", addresses: ["a:1"],
            direction: .init(dialled: dialled), leaseExpiresInMs: 9, inFlight: 1, isDraining: true, isConfigured: false,
            state: isLinked ? "linked" : nil)
        #expect(
            Self.text(view.document) == """
                {"node_id":"\(Self.nodeID)","name":"n","operator_id":"\(Self.operatorID)","api_url":"u",\
                "addresses":["a:1"],"linked":\(isLinked),"direction":"\(direction)","lease_expires_in_ms":9,\
                "in_flight":1,"draining":true,"configured":false,"state":\(isLinked ? "\"linked\"" : "null")}
                """)
    }

    @Test func aPeerThatWasNeverReached() {
        let view = PeerView(node: Self.node, addresses: ["a:1"], isConfigured: true, state: "not dialled yet")
        #expect(
            Self.text(view.document) == """
                {"node_id":"\(Self.nodeID)","name":"","operator_id":null,"api_url":"","addresses":["a:1"],\
                "linked":false,"direction":"none","lease_expires_in_ms":null,"in_flight":0,"draining":false,\
                "configured":true,"state":"not dialled yet"}
                """)
    }

    @Test func whoKnocksAndWhoIsAdmitted() {
        let knock = KnockView(
            node: Self.node, operatorKey: nil, address: "a", first: Self.time, last: Self.time, times: 2,
            admission: .node(Self.node))
        #expect(
            Self.text(knock.document) == """
                {"node_id":"\(Self.nodeID)","operator_id":null,"address":"a","first_at":1700000000,\
                "last_at":1700000000,"count":2,"admit":"aisbf mesh allow add \(Self.nodeID)"}
                """)
        #expect(
            Self.text(RuleView(value: "v", isConfigured: true, state: nil).document)
                == #"{"value":"v","from":"configuration"}"#)
        #expect(
            Self.text(RuleView(value: "v", isConfigured: false, state: "linked").document)
                == #"{"value":"v","from":"command","state":"linked"}"#)
    }

    @Test func aProviderOfTheMesh() {
        let view = ProviderView(
            fullName: "s@n/p", providerID: "p", keyName: "key:1", owner: Self.node, access: "public", homeName: "n",
            models: ["m"],
            attachments: [AttachmentView(node: Self.node, nodeName: "n", mark: "0a", offer: Self.offer)])
        #expect(
            Self.text(view.document) == """
                {"full_name":"s@n/p","provider_id":"p","key_name":"key:1",\
                "owner_id":"\(Self.id(.owner, Self.node))","access":"public","home_node":"n","models":["m"],\
                "attachments":[{"node_id":"\(Self.nodeID)","node_name":"n","usable":true,"models":["m"],"slots":3,\
                "hardware":{"gpu":"RTX","count":2,"total_vram_mb":48},"endpoints":["v1/files"],"worker":"0a",\
                "tokens_per_second":31,"first_content_ms":250,"latency_ms":4100}]}
                """)
    }

    @Test func anOwnProvider() {
        let view = OwnProviderView(
            account: ProviderAccount(
                providerID: "p", scope: .user("mia"), ownerKey: Self.node, access: .named([Self.node]),
                displayName: "P", maxConcurrency: 64,
                attachKeys: [AttachKeyEntry(publicKey: Self.node, label: "first", createdAt: Self.time)],
                createdAt: Self.time),
            homeName: "n", keyName: nil,
            workers: [
                WorkerView(
                    clientID: "c", nodeName: nil, models: ["m"], connectedAt: Self.time, inFlight: 1,
                    tokensPerSecond: nil, firstContentMs: nil),
                WorkerView(
                    clientID: nil, nodeName: "b", models: [], connectedAt: nil, inFlight: nil, tokensPerSecond: 5,
                    firstContentMs: 6),
            ],
            ends: [SessionEnd(clientID: "c", at: Self.time, cause: .worker(code: 1_000))])
        let entry = view.account.attachKeys[0]
        #expect(
            Self.text(view.document) == """
                {"owner":"mia","provider_id":"p","name":"mia/p","full_name":"mia@n/p","key_name":null,\
                "access":"named","named":["\(Self.id(.owner, Self.node))"],"kind":"\(view.account.kind)",\
                "display_name":"P","max_concurrency":64,"tokens":[{"id":"\(entry.tokenID)","label":"first",\
                "key":"\(Self.node)","created_at":1700000000,"not_after":null,"allowed_nodes":[],"imported":false,\
                "proven":false}],"workers":[{"client_id":"c","node":"this node","models":["m"],\
                "connected_at":1700000000,"in_flight":1,"tokens_per_second":null,"first_content_ms":null},\
                {"client_id":null,"node":"b","models":[],"connected_at":null,"in_flight":null,"tokens_per_second":5,\
                "first_content_ms":6}],"closes":[{"client_id":"c","closed_at":1700000000,"code":1000,\
                "reason":"closed by the worker"}],"data_policy":"unknown","prices":[]}
                """)
        let secret = view.document(token: "t", apiURL: "http://a")
        #expect(secret["registration_token"] == "t" && secret["provider"] == view.document)
        #expect(
            secret["worker"].map(Self.text) == """
                {"broker":{"enabled":true,"base_url":"http://a","scope":"user","username":"mia","provider_id":"p",\
                "registration_token":"t","transport":"websocket"}}
                """)
    }

    @Test func aSession() {
        var window = PerformanceWindow()
        window.add(
            RequestSample(latencyMs: 40, firstContentMs: 9, totalTokens: 7, tokensPerSecond: 3, isSuccess: true))
        window.add(
            RequestSample(latencyMs: 60, firstContentMs: nil, totalTokens: nil, tokensPerSecond: nil, isSuccess: false))
        let view = SessionView(
            sessionID: "ses_1",
            identity: WorkerIdentity(
                provider: RecordKey(.zero), providerID: "p", scope: .global, clientID: "c"),
            mark: "0a", connectedAt: Self.time, lastSeen: Self.time, requestsInFlight: 1, profile: WorkerProfile(),
            offer: Self.offer, performance: window)
        let hardware = """
            {"hostname":"","platform":"","gpu_count":0,"gpus":[],"total_vram_mb":null,"available_vram_mb":null,\
            "used_vram_mb":null}
            """
        #expect(
            Self.text(view.document) == """
                {"session_id":"ses_1","provider_id":"p","client_id":"c","worker":"0a","connected":true,\
                "connected_at":1700000000,"last_seen":1700000000,"owner":"global","server":"","models":["m"],\
                "in_flight":1,"metadata":{"owner":"global","scope":"global","studio_endpoints":["v1/files"],\
                "hardware":\(hardware)},"capabilities":{"max_frame_bytes":1048576,"slots":3,"flow_control":false,\
                "binary_frames":false,"uploads":true},"hardware":\(hardware),"performance":{"window_size":100,\
                "sample_count":2,"avg_latency_ms":40,"avg_first_content_ms":9,"avg_tokens_per_second":3,\
                "avg_total_tokens":7,"success_rate":0.500,"last_latency_ms":60,"last_total_tokens":null,\
                "last_tokens_per_second":null,"last_success":false}}
                """)
    }

    @Test func accounts() {
        let user = UserAccount(username: "mia", ownerKey: Self.node, createdAt: Self.time)
        #expect(
            Self.text(user.document) == """
                {"username":"mia","owner_id":"\(Self.id(.owner, Self.node))","created_at":1700000000,"disabled":false}
                """)
        let key = APIKeyAccount(
            publicKey: Self.node, username: "mia", ownerKey: Self.node, label: "l", scopes: [.inference],
            createdAt: Self.time, expiresAt: Self.time)
        let expected = """
            {"key_id":"\(key.keyID)","username":"mia","label":"l","scopes":["inference"],"created_at":1700000000,\
            "expires_at":1700000000,"revoked_at":null,"default_model":null
            """
        #expect(Self.text(key.document) == expected + "}")
        #expect(Self.text(key.document("sk")) == expected + #","key":"sk"}"#)
    }
}
