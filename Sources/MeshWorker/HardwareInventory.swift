import Foundation
import MeshModel
package import MeshWire
import Synchronization

/// What this machine really has. GPUs from nvidia-smi, else from the amdgpu driver's files; CPU and memory always.
package struct HardwareInventory: Sendable {
    private let procRoot: String
    private let drmRoot: String
    private let searchPaths: [String]

    /// - Parameters:
    ///   - procRoot, drmRoot: other trees in tests.
    ///   - searchPaths: where nvidia-smi is looked for.
    package init(
        procRoot: String = "/proc", drmRoot: String = "/sys/class/drm",
        searchPaths: [String] = ["/usr/bin", "/usr/local/bin", "/usr/lib/wsl/lib", "/opt/bin"]
    ) {
        self.procRoot = procRoot
        self.drmRoot = drmRoot
        self.searchPaths = searchPaths
    }

    /// The `hardware` object of register and heartbeat.
    package func read() async -> JSONValue {
        var gpus = await nvidia()
        if gpus.isEmpty { gpus = amd() }
        let total = gpus.reduce(Int64(0)) { $0 &+ $1.totalMB }
        let used = gpus.reduce(Int64(0)) { $0 &+ $1.usedMB }
        let (cpu, count) = processor()
        let memory = memoryMB()
        return [
            "hostname": .string(ProcessInfo.processInfo.hostName), "platform": "linux",
            "cpu": ["model": .string(cpu), "count": .integer(count)],
            "memory_mb": .integer(memory.total), "available_memory_mb": .integer(memory.available),
            "gpus": .array(gpus.map(\.document)), "gpu_count": .integer(gpus.count),
            "total_vram_mb": .integer(total), "available_vram_mb": .integer(max(0, total &- used)),
            "used_vram_mb": .integer(used),
        ]
    }

    private struct GPU {
        var index: Int64
        var name: String
        var vendor: String
        var totalMB: Int64
        var usedMB: Int64

        var document: JSONValue {
            [
                "index": .integer(index), "name": .string(name), "vendor": .string(vendor),
                "total_vram_mb": .integer(totalMB), "available_vram_mb": .integer(max(0, totalMB &- usedMB)),
                "used_vram_mb": .integer(usedMB),
            ]
        }
    }

    private func nvidia() async -> [GPU] {
        let tool = searchPaths.map { $0 + "/nvidia-smi" }.first { FileManager.default.isExecutableFile(atPath: $0) }
        guard let tool, let text = await Self.output(of: tool) else { return [] }
        return text.split(whereSeparator: \.isNewline).prefix(64).compactMap { line in
            let fields = line.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }
            guard fields.count == 4, let index = Int64(fields[0]), let total = Int64(fields[2]),
                let used = Int64(fields[3]), (0...(1 << 40)).contains(total), (0...total).contains(used)
            else { return nil }
            return GPU(index: index, name: fields[1], vendor: "nvidia", totalMB: total, usedMB: used)
        }
    }

    private func amd() -> [GPU] {
        let cards = ((try? FileManager.default.contentsOfDirectory(atPath: drmRoot)) ?? []).compactMap { name in
            name.hasPrefix("card") ? Int64(name.dropFirst(4)) : nil
        }
        return cards.sorted().prefix(64).enumerated().compactMap { index, card in
            let device = "\(drmRoot)/card\(card)/device"
            guard let total = number(device + "/mem_info_vram_total"), total > 0 else { return nil }
            let used = min(number(device + "/mem_info_vram_used") ?? 0, total)
            let name = text(device + "/product_name") ?? "AMD GPU"
            return GPU(index: Int64(index), name: name, vendor: "amd", totalMB: total >> 20, usedMB: max(used, 0) >> 20)
        }
    }

    private func processor() -> (model: String, count: Int) {
        let lines = (text("\(procRoot)/cpuinfo") ?? "").split(whereSeparator: \.isNewline)
        let model = lines.first { $0.hasPrefix("model name") }?.split(separator: ":", maxSplits: 1).last
        let count = lines.count { $0.hasPrefix("processor") }
        return (model?.trimmingCharacters(in: .whitespaces) ?? "unknown", count)
    }

    private func memoryMB() -> (total: Int64, available: Int64) {
        let lines = (text("\(procRoot)/meminfo") ?? "").split(whereSeparator: \.isNewline)
        func megabytes(_ name: String) -> Int64 {
            let line = lines.first { $0.hasPrefix(name + ":") }
            return (line?.split(separator: " ").dropFirst().first.flatMap { Int64($0) } ?? 0) / 1024
        }
        return (megabytes("MemTotal"), megabytes("MemAvailable"))
    }

    private func text(_ path: String) -> String? {
        guard let handle = FileHandle(forReadingAtPath: path), let data = try? handle.read(upToCount: 1 << 20)
        else { return nil }
        return String(decoding: data, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
    }

    private func number(_ path: String) -> Int64? { text(path).flatMap { Int64($0) } }

    /// Runs the query with a deadline. Its few lines fit the pipe's buffer; more would end in the deadline.
    private static func output(of tool: String) async -> String? {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: tool)
        process.arguments = ["--query-gpu=index,name,memory.total,memory.used", "--format=csv,noheader,nounits"]
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = FileHandle.nullDevice
        process.standardInput = FileHandle.nullDevice
        let (ended, continuation) = AsyncStream<Int32>.makeStream()
        process.terminationHandler = {
            continuation.yield($0.terminationStatus)
            continuation.finish()
        }
        guard (try? process.run()) != nil else { return nil }
        let pid = process.processIdentifier
        let status = await withTaskGroup(of: Int32?.self) { group in
            group.addTask { await ended.first { _ in true } }
            group.addTask {
                try? await Task.sleep(for: .milliseconds(Limits.workerHardwareMs))
                return nil
            }
            let first = await group.next() ?? nil
            group.cancelAll()
            return first
        }
        guard status == 0 else {
            if status == nil { kill(pid, SIGKILL) }
            return nil
        }
        guard let data = try? pipe.fileHandleForReading.read(upToCount: 64 << 10) else { return nil }
        return String(decoding: data, as: UTF8.self)
    }
}
