import Foundation
import MeshModel
import MeshUpstream
import MeshWire
import Testing

@testable import MeshWorker

@Suite struct WorkerConfigurationTests {
    @Test func `every problem is named at once with its key path`() throws {
        let document: JSONValue = [
            "broker": ["base_url": "ftp://x", "scope": "all", "provider_id": "No Way", "transport": "smoke"],
            "backend": ["kind": "openai"],
        ]
        let error = #expect(throws: WorkerConfiguration.Invalid.self) {
            try WorkerConfiguration.parse(document, environment: [:])
        }
        let problems = error?.problems ?? []
        for key in [
            "broker.base_url", "broker.scope", "broker.provider_id", "broker.transport", "broker.registration_token",
            "backend.base_url",
        ] {
            #expect(problems.contains { $0.hasPrefix(key + ": ") }, "\(key) is not named in \(problems)")
        }
    }

    @Test func `defaults, token from the environment, unknown keys`() throws {
        let document: JSONValue = [
            "broker": ["base_url": "https://node.example/x/", "username": "ann", "provider_id": "p", "colour": "red"],
            "backend": ["kind": "demo", "tokens_per_second": 0, "faults": ["error_status": 503]],
        ]
        let configuration = try WorkerConfiguration.parse(
            document, environment: ["AISBF_REGISTRATION_TOKEN": "tok"], hostname: "My Box.local")
        #expect(configuration.registrationToken == "tok")
        #expect(configuration.clientID == "my-box.local")
        #expect(configuration.endpoint.description == "wss://node.example/x/api/u/ann/coderai/wss")
        #expect(configuration.warnings == ["broker.colour: unknown key, ignored"])
        let faults = DemoFaults(errorStatus: 503)
        #expect(configuration.backend == .demo(tokensPerSecond: 0, models: ["demo-chat"], faults: faults))
    }

    @Test func `a token of this mesh is checked, and one of another kind is named`() throws {
        let whole = KeyText.registrationToken.text(Array(repeating: 7, count: 32))
        func problems(_ token: String, backend: JSONValue = "demo") -> [String] {
            let document: JSONValue = [
                "broker": [
                    "base_url": "https://node.example", "username": "ann", "provider_id": "p",
                    "registration_token": .string(token),
                ], "backend": backend,
            ]
            do throws(WorkerConfiguration.Invalid) {
                _ = try WorkerConfiguration.parse(document, environment: [:])
                return []
            } catch { return error.problems }
        }
        #expect(problems(whole).isEmpty && problems("minted-elsewhere").isEmpty)
        #expect(problems(String(whole.dropLast())).first?.contains("checksum") == true)
        #expect(problems(whole + "a").first?.contains("checksum") == true)
        let key = KeyText.apiKey.text(Array(repeating: 7, count: 36))
        #expect(problems(key).first?.contains("this is an API key") == true)
        #expect(!problems(String(whole.dropLast())).contains { $0.contains(whole.prefix(20)) })
        // Nobody sells demo text without having said so.
        #expect(problems(whole, backend: nil).first?.hasPrefix("backend: is missing") == true)
    }

    @Test(arguments: ["", "not json", "{", "[]"])
    func `a file that is no object is refused`(text: String) throws {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString).path
        try Data(text.utf8).write(to: URL(fileURLWithPath: path))
        defer { try? FileManager.default.removeItem(atPath: path) }
        #expect(throws: WorkerConfiguration.Invalid.self) {
            try WorkerConfiguration.load(path: path, environment: [:])
        }
    }

    @Test(arguments: ["", "...", "UPPER", "ünïcode", String(repeating: "a", count: 100), "-x"])
    func `a host name always becomes a valid client id`(host: String) {
        #expect(NameRule.isValid(WorkerConfiguration.clientID(from: host)))
    }

    @Test func `back-off grows, stays bounded and forgets after a stable minute`() {
        var backOff = BackOff(seed: 7)
        #expect((500...1_000).contains(backOff.next(after: .lost)))
        for _ in 0..<20 { #expect(backOff.next(after: .lost) <= 60_000) }
        #expect(backOff.next(after: .lost) >= 30_000)
        #expect((500...1_000).contains(backOff.next(after: .lost, connectedMs: 60_000)))
        var refused = BackOff(seed: 7)
        #expect(refused.next(after: .refused) >= 2_000)
        var absent = BackOff(seed: 7)
        var waited: Int64 = 0
        while waited < 290_000 {
            let delay = absent.next(after: .unreachable)
            #expect(delay <= 5_000)
            waited += delay
        }
    }
}

@Suite struct UTF8CarryTests {
    @Test(arguments: 1...7)
    func `any cut gives whole characters and the same text`(step: Int) {
        let text = "aé€🦊z\u{10FFFF}ß"
        var carry = UTF8Carry()
        var output: [UInt8] = []
        let bytes = Array(text.utf8)
        for start in stride(from: 0, to: bytes.count, by: step) {
            let part = carry.take(bytes[start..<min(start + step, bytes.count)])
            #expect(UTF8Carry.isWellFormed(part))
            output += part
        }
        output += carry.finish()
        #expect(String(decoding: output, as: UTF8.self) == text)
    }

    @Test(arguments: [[0xFF, 0x41], [0xE2, 0x82], [0x80, 0x80, 0x80, 0x80], [0xF0], [0xC0, 0xAF]] as [[UInt8]])
    func `bytes that are no UTF-8 never pass`(bytes: [UInt8]) {
        var carry = UTF8Carry()
        let output = carry.take(bytes) + carry.finish()
        #expect(UTF8Carry.isWellFormed(output) && !output.isEmpty)
    }
}

@Suite struct HardwareInventoryTests {
    private func tree(_ files: [String: String]) throws -> String {
        let root = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        for (name, text) in files {
            let url = root.appendingPathComponent(name)
            try FileManager.default.createDirectory(
                at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(text.utf8).write(to: url)
            try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: url.path)
        }
        return root.path
    }

    @Test func `amdgpu files, processor and memory`() async throws {
        let root = try tree([
            "proc/cpuinfo": "processor : 0\nmodel name : Some CPU\nprocessor : 1\n",
            "proc/meminfo": "MemTotal: 2048 kB\nMemAvailable: 1024 kB\n",
            "drm/card1/device/mem_info_vram_total": "17179869184\n",
            "drm/card1/device/mem_info_vram_used": "1073741824\n",
            "drm/card1-DP-1/status": "on", "drm/card0/device/vendor": "x",
        ])
        defer { try? FileManager.default.removeItem(atPath: root) }
        let found = await HardwareInventory(procRoot: root + "/proc", drmRoot: root + "/drm", searchPaths: []).read()
        #expect(found["gpu_count"]?.integer == 1)
        #expect(found["total_vram_mb"]?.integer == 16_384)
        #expect(found["available_vram_mb"]?.integer == 15_360)
        #expect(found["cpu"] == ["model": "Some CPU", "count": 2])
        #expect(found["memory_mb"]?.integer == 2)
    }

    @Test func `nvidia-smi lines, bad ones dropped`() async throws {
        let root = try tree([
            "nvidia-smi": "#!/bin/sh\necho '0, RTX 4090, 24564, 1000'\necho 'x, y, z'\necho '1, Bad, -5, 3'\n"
        ])
        defer { try? FileManager.default.removeItem(atPath: root) }
        let found = await HardwareInventory(procRoot: root, drmRoot: root, searchPaths: [root]).read()
        #expect(found["gpus"]?.elements?.count == 1)
        #expect(found["gpus"]?.elements?.first?["name"] == "RTX 4090")
        #expect(found["available_vram_mb"]?.integer == 23_564)
    }

    @Test func `nothing found is no GPU`() async {
        let found = await HardwareInventory(procRoot: "/nonexistent", drmRoot: "/nonexistent", searchPaths: []).read()
        #expect(found["gpu_count"]?.integer == 0)
    }
}
