import MeshModel
package import MeshWire

/// A worker's hardware, normalised from whichever spelling it uses. Sizes in MiB. Absurd values are dropped.
package struct HardwareSummary: Hashable, Sendable {
    package struct GPU: Hashable, Sendable {
        package var index: Int64
        package var name: String
        package var vendor: String
        package var totalMb: Int64?
        package var availableMb: Int64?
        package var usedMb: Int64?

        /// Sizes a beat tells replace the old ones; of available and used, the one it leaves out follows from the
        /// other, or the two would contradict each other.
        fileprivate mutating func take(_ update: GPU) {
            totalMb = update.totalMb ?? totalMb
            guard update.availableMb != nil || update.usedMb != nil else { return }
            availableMb = update.availableMb
            usedMb = update.usedMb
            guard let totalMb else { return }
            if availableMb == nil, let usedMb, totalMb >= usedMb { availableMb = totalMb - usedMb }
            if usedMb == nil, let availableMb, totalMb >= availableMb { usedMb = totalMb - availableMb }
        }
    }

    package var hostname = ""
    package var platform = ""
    package var gpus: [GPU] = []

    package init() {}

    package var totalVramMb: Int64 { gpus.reduce(0) { $0 &+ ($1.totalMb ?? 0) } }

    /// Reads `register.payload` (or a heartbeat's), preferring top-level fields and falling back to `hardware`.
    package init(payload: JSONValue) {
        let hardware = payload["hardware"]
        hostname = Self.words(hardware?["hostname"])
        platform = Self.words(hardware?["platform"])
        let listed = payload["gpus"] ?? payload["gpu"] ?? hardware?["gpus"] ?? hardware?["gpu"]
        let entries = listed?.elements ?? listed.map { [$0] } ?? []
        gpus = entries.prefix(64).enumerated().compactMap { Self.gpu($0.element, position: Int64($0.offset)) }
    }

    /// Takes over what `update` knows, GPU by GPU, and keeps the rest.
    package mutating func merge(_ update: HardwareSummary) {
        if !update.hostname.isEmpty { hostname = update.hostname }
        if !update.platform.isEmpty { platform = update.platform }
        for gpu in update.gpus {
            guard let position = gpus.firstIndex(where: { $0.index == gpu.index }) else {
                if gpus.count < 64 { gpus.append(gpu) }
                continue
            }
            if !gpu.name.isEmpty { gpus[position].name = gpu.name }
            if !gpu.vendor.isEmpty { gpus[position].vendor = gpu.vendor }
            gpus[position].take(gpu)
        }
    }

    private static func gpu(_ value: JSONValue, position: Int64) -> GPU? {
        guard value.members != nil else { return nil }
        var total = megabytes(value, "total_vram")
        var available = megabytes(value, "available_vram")
        var used = megabytes(value, "used_vram")
        if total == nil, let available, let used { total = available + used }
        if available == nil, let total, let used, total >= used { available = total - used }
        if used == nil, let total, let available, total >= available { used = total - available }
        let index = value["index"]?.integer ?? position
        guard (0..<1_024).contains(index) else { return nil }
        return GPU(
            index: index, name: words(value["name"]), vendor: words(value["vendor"]), totalMb: total,
            availableMb: available, usedMb: used)
    }

    private static func megabytes(_ value: JSONValue, _ name: String) -> Int64? {
        // 64 TiB of video memory is a typing error, not a GPU.
        let plausible: ClosedRange<Int64> = 0...(64 << 20)
        if let size = value["\(name)_mb"]?.integer, plausible.contains(size) { return size }
        if let size = value["\(name)_gb"]?.integer, (0...(plausible.upperBound / 1024)).contains(size) {
            return size * 1024
        }
        return nil
    }

    private static func words(_ value: JSONValue?) -> String { (value?.text ?? "").cut(toUTF8Bytes: 128) }
}
