import MeshModel
import MeshSessions
import MeshWire
import Testing

@Suite struct WorkerDescriptionTests {
    static func value(_ text: String) -> JSONValue { (try? JSONValue.parse(Array(text.utf8))) ?? .null }

    @Test(arguments: [
        (#"{"payload":{"capabilities":{"server":"codai","version":"2"}}}"#, "codai 2"),
        (#"{"capabilities":{"server":{"name":"n","version":"v"}}}"#, "n v"),
        (
            #"{"capabilities":{"server":"outer"},"payload":{"capabilities":{"server":"inner","version":"1"}}}"#,
            "inner 1"
        ),
        (#"{"capabilities":{"server":"outer"},"payload":{"capabilities":null}}"#, "outer"),
        (#"{"capabilities":{"server":"outer"},"payload":{"capabilities":{}}}"#, "outer"),
        (#"{"capabilities":{"server":"outer"},"payload":{"capabilities":"none"}}"#, "outer"),
    ])
    func servers(message: String, server: String) {
        #expect(WorkerProfile(register: Self.value(message)).server == server)
    }

    @Test(arguments: [
        ("1", Limits.workerRequestFrameBytes), ("4194304", 4_194_304), ("9223372036854775807", Limits.workerFrameBytes),
        ("-1", Limits.workerRequestFrameBytes), ("\"x\"", Limits.workerRequestFrameBytes),
    ])
    func frameSizes(advertised: String, expected: Int) {
        let profile = WorkerProfile(
            register: Self.value(#"{"payload":{"capabilities":{"max_frame_bytes":\#(advertised)}}}"#))
        #expect(profile.maxFrameBytes == expected)
    }

    @Test(
        arguments: [
            (#"{"payload":{"studio_endpoints":["v1/a","v1\nb",3]}}"#, ["v1/a"]),
            (#"{"payload":{"capabilities":{"studio":{"endpoints":["v1/c"]}}}}"#, ["v1/c"]), ("{}", []), ("[]", []),
            (
                #"{"payload":{"studio_endpoints":["v1/a"],"capabilities":{"studio":{"endpoints":["v1/b","/v1/a"],"endpoint_capabilities":{"v1/c":{},"v1/b":{}}}}}}"#,
                ["v1/a", "v1/b", "v1/c"]
            ),
            (
                #"{"payload":{"studio_endpoints":[],"capabilities":{"studio":{"supported":true,"endpoints":["v1/c"]}}}}"#,
                ["v1/c"]
            ),
            (
                #"{"payload":{"studio_endpoints":["v1/a"],"capabilities":{"openai_compat":{"images":true,"audio":false},"studio":{"enabled":false,"endpoints":["v1/c"]}}}}"#,
                ["v1/images"]
            ),
            (
                #"{"payload":{"studio_endpoints":["v1/a"],"capabilities":{"studio":{"enabled":false,"supported":true}}}}"#,
                ["v1/a"]
            ),
            (#"{"payload":{"studio_endpoints":["v1/a"],"capabilities":{"studio":{"enabled":null}}}}"#, ["v1/a"]),
        ] as [(String, [String])])
    func endpoints(message: String, expected: [String]) {
        #expect(WorkerProfile(register: Self.value(message)).offer.endpoints == expected)
    }

    @Test(
        arguments: [
            (#""slots":4"#, 4), (#""max_concurrency":8"#, 8), (#""slots":0,"max_concurrency":2"#, 2),
            (#""slots":-1"#, 0),
            (#""slots":1025"#, 0), (#""slots":1024"#, 1_024), (#""slots":"4""#, 0), (#""x":1"#, 0),
        ] as [(String, UInt32)])
    func slots(told: String, expected: UInt32) {
        let profile = WorkerProfile(register: Self.value(#"{"payload":{"capabilities":{\#(told)}}}"#))
        #expect(profile.offer.slots == expected)
    }

    /// Operators see what the worker sent, in the form their dashboards expect.
    @Test func capabilitiesAreKeptAsTheyCame() {
        let profile = WorkerProfile(
            register: Self.value(
                #"{"payload":{"capabilities": { "server":{"name":"codai","version":"2"}, "transports":{"websocket":true,"http":false},"tunnel_only":true,"registration_token":"x","ours":{"registration_token":"y","n":1.50}}}}"#
            ))
        #expect(
            SessionFixtures.text(profile.capabilities)
                == #"{"server":"codai","transports":["websocket"],"tunnel_only":true,"ours":{"n":1.50},"version":"2"}"#)
        #expect(profile.capabilityMembers.count == 5)
        #expect(WorkerProfile(register: Self.value("{}")).capabilities.isEmpty)
    }

    @Test func keptCapabilitiesAreBounded() throws {
        let much = String(repeating: "x", count: Limits.workerCapabilityBytes)
        let profile = WorkerProfile(
            register: Self.value(#"{"payload":{"capabilities":{"a":1,"much":"\#(much)","b":2}}}"#))
        #expect(SessionFixtures.text(profile.capabilities) == #"{"a":1,"b":2}"#)
        let many = (0..<512).map { #""n\#($0)":"\#(String(repeating: "y", count: 1_000))""# }.joined(separator: ",")
        let full = WorkerProfile(register: Self.value(#"{"payload":{"capabilities":{\#(many)}}}"#))
        #expect((60_000...Limits.workerCapabilityBytes).contains(full.capabilities.count))
        _ = try JSONValue.parse(full.capabilities)
    }

    @Test(
        arguments: [
            (#"{"data":[{"id":"a"}]}"#, ["a"]), (#"{"models":["a",{"name":"b"},{"model":"c"}]}"#, ["a", "b", "c"]),
            (#"["a","a","b"]"#, ["a", "b"]), (#"["",null,3,{},{"id":7}]"#, []), (#"{"data":[]}"#, []),
            (#"["a\nb"]"#, []),
            ("{}", nil), ("\"a\"", nil),
        ] as [(String, [String]?)])
    func models(document: String, expected: [String]?) {
        #expect(WorkerModel.list(Self.value(document))?.map(\.id) == expected)
    }

    @Test(
        arguments: [
            (#"{"id":"m","context_window":8}"#, 8), (#"{"id":"m","context_length":9}"#, 9),
            (#"{"id":"m","max_context_length":10}"#, 10),
            (#"{"id":"m","context_window":0}"#, nil), (#"{"id":"m","context_window":-1}"#, nil), (#"{"id":"m"}"#, nil),
            (#"{"id":"m","context_window":100000001}"#, nil),
            (#"{"id":"m","context_window":0,"context_length":9}"#, 9),
            (#"{"id":"m","context_window":null,"context_length":-1,"max_context_length":10}"#, 10),
        ] as [(String, UInt32?)])
    func contexts(item: String, expected: UInt32?) {
        #expect(WorkerModel.list(Self.value("[\(item)]"))?.first?.contextTokens == expected)
    }

    @Test(
        arguments: [
            (#"{"data":[{"id":"m"}]}"#, ["m"]), (#"{"models":["m","n","m"]}"#, ["m", "n"]), (#"["m"]"#, ["m"]),
            (#"{"data":1,"models":["m"]}"#, ["m"]),
            (#"{"data":[{"id":"m","x":NaN},{"x":1},7,{"name":"n"}]}"#, ["m", "n"]),
            ("[]", []), ("{}", nil), (#"{"data":{}}"#, nil), (#"["m""#, nil), (#""m""#, nil), ("", nil),
        ] as [(String, [String]?)])
    func listsAsTheyCome(document: String, expected: [String]?) {
        #expect(WorkerModel.list(of: Array(document.utf8))?.map(\.id) == expected)
    }

    @Test func modelsAreBounded() {
        for (count, expected) in [(4_095, 4_095), (4_096, 4_096), (4_097, 4_096), (9_000, 4_096)] {
            let items = (0..<count).map { "\"m\($0)\"" }.joined(separator: ",")
            #expect(WorkerModel.list(of: Array("[\(items),\"m0\"]".utf8))?.count == expected)
        }
    }
}
