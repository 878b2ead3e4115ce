internal import ArgumentParser

/// A stretch of time on the command line: `90`, `90s`, `15m`, `1h`, `30d`, `8w`.
package struct LifeSpan: Hashable, Sendable {
    package var seconds: Int64

    package init?(_ text: String) {
        var digits = text[...]
        var factor: Int64 = 1
        if let unit = text.last, let known = Self.units.first(where: { $0.name == unit }) {
            digits = text.dropLast()
            factor = known.seconds
        }
        guard !digits.isEmpty, digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let count = Int64(digits)
        else { return nil }
        let (product, overflow) = count.multipliedReportingOverflow(by: factor)
        guard !overflow else { return nil }
        seconds = product
    }

    private static let units: [(name: Character, seconds: Int64)] = [
        ("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400), ("w", 604_800),
    ]
}

extension LifeSpan: ExpressibleByArgument {
    package init?(argument: String) { self.init(argument) }
}
