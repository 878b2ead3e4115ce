import MeshModel
import MeshSessions
import MeshWire
import Testing

@Suite struct HardwareSummaryTests {
    static func value(_ text: String) -> JSONValue { WorkerDescriptionTests.value(text) }
    static func summary(_ payload: String) -> HardwareSummary { HardwareSummary(payload: value(payload)) }

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
            (#"{"total_vram_gb":23.9}"#, [24_473, nil, nil]), (#"{"total_vram_gb":0.5}"#, [512, nil, nil]),
            (#"{"total_vram_gb":23.99999999999999999999999}"#, [24_575, nil, nil]),
            (#"{"total_vram_gb":-0.5,"used_vram_mb":-0}"#, [nil, nil, nil]),
            (#"{"total_vram_gb":1e1}"#, [nil, nil, nil]),
            (#"{"total_vram_mb":null,"total_vram_gb":65536}"#, [67_108_864, nil, nil]),
            (#"{"total_vram_gb":65536.1}"#, [nil, nil, nil]),
            (#"{"total_vram_gb":99999999999999999999999999999999}"#, [nil, nil, nil]),
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
            (#"{"gpus":null,"hardware":{"gpus":[{"index":5}]}}"#, [5]),
            (#"{"gpus":[],"gpu":null,"hardware":{"gpus":null,"gpu":{"index":6}}}"#, [6]),
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

    /// Count and sizes of all GPUs together: count, total, available, used.
    @Test(
        arguments: [
            (#"{"gpu_count":2,"total_vram_mb":100,"available_vram_mb":60}"#, [Int64(2), 100, 60, 40]),
            (#"{"hardware":{"gpu_count":2,"total_vram_gb":0.5,"used_vram_mb":12}}"#, [2, 512, 500, 12]),
            (
                #"{"gpu_count":1,"total_vram_mb":9,"hardware":{"gpu_count":2,"total_vram_mb":8,"used_vram_mb":1}}"#,
                [1, 9, 8, 1]
            ),
            (#"{"gpu_count":null,"gpus":null,"hardware":{"gpu_count":3}}"#, [3, nil, nil, nil]),
            (#"{"total_vram_mb":100}"#, [1, 100, nil, nil]),
            (#"{"gpu_count":-1,"total_vram_mb":"x"}"#, [0, nil, nil, nil]),
            (#"{"gpu_count":1e9}"#, [0, nil, nil, nil]), ("{}", [0, nil, nil, nil]),
            // Sums where every GPU tells, what is said of all where not.
            (
                #"{"gpus":[{"total_vram_mb":10,"used_vram_mb":1},{"total_vram_mb":20,"used_vram_mb":2}],"gpu_count":9,"total_vram_mb":99,"used_vram_mb":98}"#,
                [2, 30, 27, 3]
            ),
            (#"{"gpus":[{"name":"A"},{"name":"B"}],"total_vram_mb":99,"available_vram_mb":9}"#, [2, 99, 9, 90]),
            (#"{"gpus":[{"total_vram_mb":10},{}],"total_vram_mb":30}"#, [2, 30, nil, nil]),
            (#"{"gpus":[{"total_vram_mb":10},{}]}"#, [2, 10, nil, nil]),
        ] as [(String, [Int64?])])
    func together(payload: String, expected: [Int64?]) {
        let summary = Self.summary(payload)
        let memory = summary.memory
        #expect([Int64(summary.gpuCount), memory.totalMb, memory.availableMb, memory.usedMb] == expected)
        #expect(summary.totalVramMb == expected[1] ?? 0)
    }

    @Test func aBeatMayTellTotalsOnly() {
        var counted = Self.summary(#"{"gpu_count":2,"total_vram_mb":100,"available_vram_mb":60}"#)
        counted.merge(Self.summary(#"{"hardware":{"available_vram_mb":50}}"#))
        #expect(counted.gpuCount == 2 && counted.memory.totalMb == 100 && counted.memory.usedMb == 50)
        var single = Self.summary(#"{"gpus":[{"total_vram_mb":100,"used_vram_mb":1}]}"#)
        single.merge(Self.summary(#"{"used_vram_mb":70}"#))
        #expect(single.gpus[0].availableMb == 30 && single.memory.usedMb == 70)
        var named = Self.summary(#"{"gpus":[{"name":"A"}],"total_vram_mb":100,"used_vram_mb":1}"#)
        named.merge(Self.summary(#"{"used_vram_mb":70}"#))
        #expect(named.memory.totalMb == 100 && named.memory.usedMb == 70 && named.memory.availableMb == 30)
        var pair = Self.summary(
            #"{"gpus":[{"total_vram_mb":100,"used_vram_mb":1},{"total_vram_mb":100,"used_vram_mb":1}]}"#)
        pair.merge(Self.summary(#"{"used_vram_mb":70}"#))
        #expect(pair.memory.usedMb == 70 && pair.memory.availableMb == 130 && pair.gpus.map(\.usedMb) == [1, 1])
        // What the GPUs tell later is newer than that.
        pair.merge(Self.summary(#"{"gpus":[{"index":0,"used_vram_mb":5},{"index":1,"used_vram_mb":6}]}"#))
        #expect(pair.memory.usedMb == 11 && pair.memory.availableMb == 189)
        #expect(Self.summary(#"{"uptime":12}"#).isEmpty && !Self.summary(#"{"used_vram_mb":0}"#).isEmpty)
    }

    @Test func theHeadlineIsClassCountAndTotal() {
        let before = Self.summary(#"{"gpus":[{"name":"A","total_vram_mb":100,"used_vram_mb":1}]}"#)
        for (beat, isNews) in [
            (#"{"gpus":[{"used_vram_mb":2,"temperature":70}]}"#, false), (#"{"gpus":[{"name":"B"}]}"#, true),
            (#"{"gpus":[{"total_vram_mb":101}]}"#, true), (#"{"gpus":[{"index":1}]}"#, true), ("{}", false),
        ] {
            var after = before
            after.merge(Self.summary(beat))
            #expect((after.headline != before.headline) == isNews, "\(beat)")
        }
    }

    @Test func otherFieldsAreKeptToBeShown() {
        var summary = Self.summary(
            #"{"registration_token":"s","hardware":{"driver":"550","registration_token":"s","cpu":{"cores":8,"load":1.50},"gpus":[{"name":"A","temperature":60,"pcie":"x16"}]}}"#
        )
        #expect(SessionFixtures.text(summary.extra) == #"{"driver":"550","cpu":{"cores":8,"load":1.50}}"#)
        #expect(SessionFixtures.text(summary.gpus[0].extra) == #"{"temperature":60,"pcie":"x16"}"#)
        summary.merge(Self.summary(#"{"hardware":{"cpu":{"load":2},"gpus":[{"temperature":61,"fan":"on"}]}}"#))
        #expect(SessionFixtures.text(summary.extra) == #"{"driver":"550","cpu":{"cores":8,"load":2}}"#)
        #expect(SessionFixtures.text(summary.gpus[0].extra) == #"{"temperature":61,"pcie":"x16","fan":"on"}"#)
        #expect(summary.extraMembers.map(\.name) == ["driver", "cpu"] && summary.gpus[0].extraMembers.count == 3)
    }

    @Test func otherFieldsAreBoundedAltogether() {
        func kept(_ summary: HardwareSummary) -> Int {
            summary.gpus.reduce(summary.extra.count) { $0 + $1.extra.count }
        }
        let words = String(repeating: "x", count: 300)
        let gpus = (0..<64).map { #"{"index":\#($0),"a":"\#(words)","b":"\#(words)"}"# }.joined(separator: ",")
        var summary = Self.summary(
            #"{"hardware":{"driver":"\#(words)","more":"\#(words)\#(words)","gpus":[\#(gpus)]}}"#)
        #expect((3_000...Limits.workerHardwareExtraBytes).contains(kept(summary)) && summary.gpus.count == 64)
        for round in 0..<200 {
            summary.merge(
                Self.summary(
                    #"{"hardware":{"n\#(round)":"\#(words)","gpus":[{"index":\#(round % 64),"m\#(round)":"\#(words)"}]}}"#
                ))
            #expect(kept(summary) <= Limits.workerHardwareExtraBytes)
        }
        let huge = String(repeating: "y", count: Limits.workerHardwareExtraBytes)
        #expect(Self.summary(#"{"hardware":{"a":"\#(huge)","b":1}}"#).extraMembers.map(\.name) == ["b"])
    }
}
