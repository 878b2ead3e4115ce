package import MeshWire

/// Sizes of video memory in MiB, as far as they are known.
package struct VideoMemory: Hashable, Sendable {
    package var totalMb: Int64?
    package var availableMb: Int64?
    package var usedMb: Int64?

    package init() {}

    /// Reads `total_vram_mb`, `total_vram_gb` and so on; absurd values count as missing.
    package init(_ value: JSONValue?) {
        guard let value else { return }
        totalMb = Self.size(value, "total_vram")
        availableMb = Self.size(value, "available_vram")
        usedMb = Self.size(value, "used_vram")
    }

    package static let names = ["total_vram", "available_vram", "used_vram"].flatMap { ["\($0)_mb", "\($0)_gb"] }

    package var isEmpty: Bool { totalMb == nil && availableMb == nil && usedMb == nil }
    /// Whether it tells how much is in use.
    var tellsUse: Bool { availableMb != nil || usedMb != nil }

    /// The one that is missing follows from the other two.
    mutating func derive() {
        if totalMb == nil, let availableMb, let usedMb { totalMb = availableMb + usedMb }
        guard let totalMb else { return }
        if availableMb == nil, let usedMb, totalMb >= usedMb { availableMb = totalMb - usedMb }
        if usedMb == nil, let availableMb, totalMb >= availableMb { usedMb = totalMb - availableMb }
    }

    /// Fills in what is not known yet.
    mutating func fill(from other: VideoMemory) {
        totalMb = totalMb ?? other.totalMb
        availableMb = availableMb ?? other.availableMb
        usedMb = usedMb ?? other.usedMb
    }

    /// Sizes that `update` tells replace the old ones; of available and used, the one it leaves out follows from the
    /// other, or the two would contradict each other.
    mutating func take(_ update: VideoMemory) {
        totalMb = update.totalMb ?? totalMb
        if update.tellsUse {
            availableMb = update.availableMb
            usedMb = update.usedMb
        }
        derive()
    }

    /// 64 TiB of video memory is a typing error, not a GPU.
    private static let largestMb: Int64 = 64 << 20

    private static func size(_ value: JSONValue, _ name: String) -> Int64? {
        mebibytes(value["\(name)_mb"], unit: 1) ?? mebibytes(value["\(name)_gb"], unit: 1_024)
    }

    /// A number of units in whole MiB, rounded down, read digit by digit: nothing is rounded on the way, and 0.5 GB
    /// are 512 MiB. Nil for exponents, negative and implausible values.
    private static func mebibytes(_ value: JSONValue?, unit: Int64) -> Int64? {
        guard case .number(let text) = value else { return nil }
        var whole: Int64 = 0
        // Six digits behind the point are less than a KiB of a GB.
        var (fraction, scale): (Int64, Int64) = (0, 1)
        var isFraction = false
        for byte in text.utf8 {
            if byte == UInt8(ascii: "."), !isFraction {
                isFraction = true
                continue
            }
            guard byte &- 0x30 < 10 else { return nil }
            let digit = Int64(byte &- 0x30)
            if !isFraction {
                whole = whole * 10 + digit
                guard whole <= largestMb else { return nil }
            } else if scale < 1_000_000 {
                fraction = fraction * 10 + digit
                scale *= 10
            }
        }
        let size = whole * unit + fraction * unit / scale
        return size <= largestMb ? size : nil
    }
}
