package import MeshModel
package import MeshWire

/// A worker's hardware, normalised from whichever spelling it uses. Sizes in MiB. Absurd values are dropped, fields
/// this node has no use for are kept to be shown, within `Limits.workerHardwareExtraBytes` altogether.
package struct HardwareSummary: Hashable, Sendable {
    package struct GPU: Hashable, Sendable {
        package var index: Int64
        package var name: String
        package var vendor: String
        package var memory: VideoMemory
        /// Its other fields, one object as JSON text; empty where it has none.
        package var extra: [UInt8]

        package var totalMb: Int64? { memory.totalMb }
        package var availableMb: Int64? { memory.availableMb }
        package var usedMb: Int64? { memory.usedMb }
        package var extraMembers: [JSONValue.Member] { KeptJSON.members(extra) }
    }

    package var hostname = ""
    package var platform = ""
    package var gpus: [GPU] = []
    /// What it says of all its GPUs together, for where it does not list them or not their sizes.
    private var toldCount = 0
    private var toldMemory = VideoMemory()
    /// Other fields of `hardware`, one object as JSON text; empty where it has none.
    package private(set) var extra: [UInt8] = []

    package init() {}

    private static let gpusAtMost = 64
    private static let indices: Range<Int64> = 0..<1_024

    /// Reads `register.payload` (or a heartbeat's), preferring top-level fields and falling back to `hardware`.
    package init(payload: JSONValue) {
        let hardware = payload["hardware"]
        hostname = Self.words(hardware?["hostname"])
        platform = Self.words(hardware?["platform"])
        let known = ["hostname", "platform", "gpus", "gpu", "gpu_count"] + VideoMemory.names
        extra = Self.extra(hardware, beside: known, limit: Limits.workerHardwareExtraBytes)
        for (position, entry) in Self.listed(payload, hardware).prefix(Self.gpusAtMost).enumerated() {
            guard let gpu = Self.gpu(entry, position: Int64(position), limit: extraRoom) else { continue }
            gpus.append(gpu)
        }
        toldCount = Self.count(payload) ?? Self.count(hardware) ?? 0
        toldMemory = VideoMemory(payload)
        toldMemory.fill(from: VideoMemory(hardware))
        toldMemory.derive()
        preferGPUs()
    }

    package var isEmpty: Bool { self == HardwareSummary() }

    package var gpuCount: Int {
        if !gpus.isEmpty { return gpus.count }
        if toldCount > 0 { return toldCount }
        return (toldMemory.totalMb ?? 0) > 0 ? 1 : 0
    }

    /// Of all GPUs together: the sums over them where each tells its size, else what the worker says.
    package var memory: VideoMemory {
        var memory = VideoMemory()
        let total = sum { $0.totalMb }
        memory.totalMb = total.isWhole ? total.size : toldMemory.totalMb.map { max($0, total.size ?? 0) } ?? total.size
        // Both from one source, or they would contradict each other.
        memory.availableMb = toldMemory.tellsUse ? toldMemory.availableMb : wholeSum { $0.availableMb }
        memory.usedMb = toldMemory.tellsUse ? toldMemory.usedMb : wholeSum { $0.usedMb }
        memory.derive()
        return memory
    }

    package var totalVramMb: Int64 { memory.totalMb ?? 0 }

    /// What the rest of the mesh is told of it.
    package var headline: WorkerOffer.Hardware {
        WorkerOffer.Hardware(
            gpuClass: (gpus.first?.name ?? "").cut(toUTF8Bytes: Limits.hardwareNameBytes),
            gpuCount: UInt32(clamping: gpuCount), totalVramMb: UInt32(clamping: totalVramMb))
    }

    package var extraMembers: [JSONValue.Member] { KeptJSON.members(extra) }

    /// Takes over what `update` knows, GPU by GPU, and keeps the rest.
    package mutating func merge(_ update: HardwareSummary) {
        if !update.hostname.isEmpty { hostname = update.hostname }
        if !update.platform.isEmpty { platform = update.platform }
        if update.toldCount > 0 { toldCount = update.toldCount }
        extra = KeptJSON.merged(extra, update.extra, limit: extraRoom + extra.count)
        for gpu in update.gpus { merge(gpu) }
        if update.gpus.isEmpty, gpus.count == 1 {
            gpus[0].memory.take(update.toldMemory)
            if update.toldMemory.tellsUse { preferGPUs() }
        } else {
            toldMemory.take(update.toldMemory)
            if update.gpus.contains(where: \.memory.tellsUse) { preferGPUs() }
        }
    }

    private mutating func merge(_ gpu: GPU) {
        guard let position = gpus.firstIndex(where: { $0.index == gpu.index }) else {
            guard gpus.count < Self.gpusAtMost else { return }
            var gpu = gpu
            if gpu.extra.count > extraRoom { gpu.extra = [] }
            return gpus.append(gpu)
        }
        if !gpu.name.isEmpty { gpus[position].name = gpu.name }
        if !gpu.vendor.isEmpty { gpus[position].vendor = gpu.vendor }
        gpus[position].memory.take(gpu.memory)
        let room = extraRoom + gpus[position].extra.count
        gpus[position].extra = KeptJSON.merged(gpus[position].extra, gpu.extra, limit: room)
    }

    /// Where every GPU tells how much of it is in use, that is newer than what was said of all together.
    private mutating func preferGPUs() {
        guard wholeSum({ $0.availableMb ?? $0.usedMb }) != nil else { return }
        toldMemory.availableMb = nil
        toldMemory.usedMb = nil
    }

    private func sum(_ size: (VideoMemory) -> Int64?) -> (size: Int64?, isWhole: Bool) {
        let sizes = gpus.compactMap { size($0.memory) }
        return (sizes.isEmpty ? nil : sizes.reduce(0) { $0 &+ $1 }, !sizes.isEmpty && sizes.count == gpus.count)
    }

    private func wholeSum(_ size: (VideoMemory) -> Int64?) -> Int64? {
        let sum = sum(size)
        return sum.isWhole ? sum.size : nil
    }

    /// Bytes that may still be kept of other fields.
    private var extraRoom: Int {
        gpus.reduce(Limits.workerHardwareExtraBytes - extra.count) { $0 - $1.extra.count }
    }

    /// The first list that has a GPU in it: `null` and an empty one say nothing.
    private static func listed(_ payload: JSONValue, _ hardware: JSONValue?) -> [JSONValue] {
        for listed in [payload["gpus"], payload["gpu"], hardware?["gpus"], hardware?["gpu"]] {
            guard let listed else { continue }
            let entries = listed.elements ?? [listed]
            if entries.contains(where: { $0.members != nil }) { return entries }
        }
        return []
    }

    private static func gpu(_ value: JSONValue, position: Int64, limit: Int) -> GPU? {
        guard value.members != nil else { return nil }
        let index = value["index"]?.integer ?? position
        guard indices.contains(index) else { return nil }
        var memory = VideoMemory(value)
        memory.derive()
        return GPU(
            index: index, name: words(value["name"]), vendor: words(value["vendor"]), memory: memory,
            extra: extra(value, beside: ["index", "name", "vendor"] + VideoMemory.names, limit: limit))
    }

    private static func extra(_ value: JSONValue?, beside known: [String], limit: Int) -> [UInt8] {
        KeptJSON.object((value?.members ?? []).filter { !known.contains($0.name) }, limit: limit)
    }

    private static func count(_ value: JSONValue?) -> Int? {
        value?["gpu_count"]?.integer.flatMap { indices.contains($0) ? Int($0) : nil }
    }

    private static func words(_ value: JSONValue?) -> String { (value?.text ?? "").cut(toUTF8Bytes: 128) }
}
