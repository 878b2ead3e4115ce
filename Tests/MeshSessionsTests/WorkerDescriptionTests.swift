import MeshModel
import MeshSessions
import MeshWire
import Testing

@Suite struct WorkerDescriptionTests {
    static func value(_ text: String) -> JSONValue { (try? JSONValue.parse(Array(text.utf8))) ?? .null }

    @Test(
        arguments: [
            (#"{"total_vram_mb":100,"available_vram_mb":60}"#, [Int64(100), 60, 40]),
            (#"{"total_vram_mb":100,"used_vram_mb":60}"#, [100, 40, 60]),
            (#"{"available_vram_mb":60,"used_vram_mb":60}"#, [120, 60, 60]),
            (#"{"total_vram_gb":2,"used_vram_gb":1}"#, [2_048, 1_024, 1_024]),
            (#"{"total_vram_mb":10,"used_vram_mb":60}"#, [10, nil, 60]),
            (#"{"total_vram_mb":-1,"available_vram_mb":"many","used_vram_mb":1e99}"#, [nil, nil, nil]),
            (#"{"total_vram_mb":9223372036854775807,"available_vram_mb":5}"#, [nil, 5, nil]),
            (#"{"total_vram_gb":67108864}"#, [nil, nil, nil]), (#"{"total_vram_mb":24576.7}"#, [24_576, nil, nil]),
        ] as [(String, [Int64?])])
    func sizes(gpu: String, expected: [Int64?]) {
        let summary = HardwareSummary(payload: Self.value(#"{"gpus":[\#(gpu)]}"#))
        #expect(summary.gpus.map { [$0.totalMb, $0.availableMb, $0.usedMb] } == [expected])
        #expect(summary.totalVramMb == expected[0] ?? 0)
    }

    @Test(
        arguments: [
            (#"{"gpus":[{},{}]}"#, [Int64(0), 1]), (#"{"gpus":{"index":3}}"#, [3]), (#"{"gpu":{"index":4}}"#, [4]),
            (#"{"hardware":{"gpus":[{"index":5}]}}"#, [5]),
            (#"{"gpus":[{"index":1}],"hardware":{"gpus":[{"index":5}]}}"#, [1]),
            (#"{"gpus":[{"index":-1},{"index":99999},"x",null,{"index":2}]}"#, [2]), (#"{"gpus":"none"}"#, []),
            ("[]", []), ("null", []),
        ] as [(String, [Int64])])
    func shapes(payload: String, indices: [Int64]) {
        #expect(HardwareSummary(payload: Self.value(payload)).gpus.map(\.index) == indices)
    }

    @Test func hardwareIsBounded() {
        let gpus = String(repeating: "{},", count: 1_000) + "{}"
        let words = String(repeating: "x", count: 9_000)
        var summary = HardwareSummary(payload: Self.value(#"{"gpus":[\#(gpus)],"hardware":{"hostname":"\#(words)"}}"#))
        #expect(summary.gpus.count == 64 && summary.hostname.utf8.count == 128)
        summary.merge(HardwareSummary(payload: Self.value(#"{"gpus":[{"index":900}]}"#)))
        #expect(summary.gpus.count == 64)
    }

    @Test func aMergeKeepsWhatTheBeatLeavesOut() {
        var summary = HardwareSummary(
            payload: Self.value(
                #"{"hardware":{"hostname":"h","gpus":[{"index":0,"name":"A","total_vram_mb":100,"used_vram_mb":10}]}}"#)
        )
        summary.merge(
            HardwareSummary(
                payload: Self.value(#"{"gpus":[{"index":0,"available_vram_mb":70},{"index":1,"name":"B"}]}"#)))
        #expect(summary.hostname == "h" && summary.gpus.map(\.name) == ["A", "B"])
        #expect(summary.gpus[0].totalMb == 100 && summary.gpus[0].availableMb == 70 && summary.gpus[0].usedMb == 30)
    }

    @Test(arguments: [
        (#"{"payload":{"capabilities":{"server":"codai","version":"2"}}}"#, "codai 2"),
        (#"{"capabilities":{"server":{"name":"n","version":"v"}}}"#, "n v"),
        (
            #"{"capabilities":{"server":"outer"},"payload":{"capabilities":{"server":"inner","version":"1"}}}"#,
            "inner 1"
        ),
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
        ] as [(String, [String])])
    func endpoints(message: String, expected: [String]) {
        #expect(WorkerProfile(register: Self.value(message)).endpoints == expected)
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
            (#"{"id":"m","context_window":8}"#, Int64(8)), (#"{"id":"m","context_length":9}"#, 9),
            (#"{"id":"m","max_context_length":10}"#, 10),
            (#"{"id":"m","context_window":0}"#, nil), (#"{"id":"m","context_window":-1}"#, nil), (#"{"id":"m"}"#, nil),
            (#"{"id":"m","context_window":100000001}"#, nil),
        ] as [(String, Int64?)])
    func contexts(item: String, expected: Int64?) {
        #expect(WorkerModel.list(Self.value("[\(item)]"))?.first?.contextTokens == expected)
    }

    @Test func modelsAreBounded() {
        let items = (0..<4_000).map { "\"m\($0)\"" }.joined(separator: ",")
        #expect(WorkerModel.list(Self.value("[\(items)]"))?.count == Limits.workerModels)
    }
}
