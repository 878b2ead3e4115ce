/// A strict reader of Prometheus' text format 0.0.4: what it does not know is an error.
struct StrictExposition {
    struct Sample: Equatable {
        var name: String
        var labels: [String: String]
        var value: Double
    }

    struct Malformed: Error, CustomStringConvertible {
        let description: String
    }

    private(set) var samples: [Sample] = []
    private(set) var types: [String: String] = [:]
    private(set) var helps: [String: String] = [:]
    private var seen: Set<String> = []
    private var closed: Set<String> = []
    private var family = ""

    init(_ text: String) throws {
        guard text.hasSuffix("\n") else { throw Malformed(description: "the last line has no end") }
        for line in text.split(separator: "\n", omittingEmptySubsequences: false).dropLast() { try read(line) }
        try checkHistograms()
    }

    private mutating func read(_ line: Substring) throws {
        if let match = line.wholeMatch(of: /# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) ((?:[^\\]|\\\\|\\n)+)/) {
            try enter(String(match.1))
            guard helps.updateValue(String(match.2), forKey: String(match.1)) == nil, types[String(match.1)] == nil
            else { throw Malformed(description: "HELP twice or behind TYPE: \(line)") }
        } else if let match = line.wholeMatch(of: /# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|histogram)/) {
            try enter(String(match.1))
            guard types.updateValue(String(match.2), forKey: String(match.1)) == nil else {
                throw Malformed(description: "TYPE twice: \(line)")
            }
        } else {
            try sample(line)
        }
    }

    /// The lines of one family stand together.
    private mutating func enter(_ name: String) throws {
        guard name != family else { return }
        guard !closed.contains(name) else { throw Malformed(description: "\(name) comes back") }
        if !family.isEmpty { closed.insert(family) }
        family = name
    }

    private mutating func sample(_ line: Substring) throws {
        let pattern = /([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)/
        guard let match = line.wholeMatch(of: pattern) else { throw Malformed(description: "no sample: \(line)") }
        let name = String(match.1)
        guard let type = types[family], Self.belongs(name, to: family, type) else {
            throw Malformed(description: "outside its family: \(line)")
        }
        guard let value = Self.number(match.3) else { throw Malformed(description: "no number: \(line)") }
        if type == "counter", !name.hasSuffix("_total") { throw Malformed(description: "a counter's name: \(line)") }
        guard seen.insert("\(name){\(match.2 ?? "")}").inserted else { throw Malformed(description: "twice: \(line)") }
        samples.append(Sample(name: name, labels: try Self.labels(match.2 ?? ""), value: value))
    }

    private static func belongs(_ name: String, to family: String, _ type: String) -> Bool {
        type == "histogram"
            ? ["_bucket", "_sum", "_count"].contains { name == family + $0 } : name == family
    }

    private static func number(_ text: Substring) -> Double? {
        switch text {
        case "+Inf": .infinity
        case "-Inf": -.infinity
        case "NaN": .nan
        default: text.contains { $0.isLetter && $0 != "e" } ? nil : Double(text)
        }
    }

    private static func labels(_ text: Substring) throws -> [String: String] {
        var labels: [String: String] = [:]
        var rest = text[...]
        while !rest.isEmpty {
            guard let match = rest.prefixMatch(of: /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(,|$)/)
            else {
                throw Malformed(description: "labels: \(text)")
            }
            guard labels.updateValue(String(match.2), forKey: String(match.1)) == nil else {
                throw Malformed(description: "a label twice: \(text)")
            }
            rest = rest[match.range.upperBound...]
        }
        return labels
    }

    /// Buckets go up in bound and count, end with `+Inf`, and agree with the count.
    private func checkHistograms() throws {
        for (name, type) in types.sorted(by: { $0.key < $1.key }) where type == "histogram" {
            let counts = samples.filter { $0.name == name + "_count" }
            guard !counts.isEmpty else { throw Malformed(description: "\(name) has no count") }
            for count in counts {
                let buckets = samples.filter { sample in
                    sample.name == name + "_bucket" && sample.labels.filter { $0.key != "le" } == count.labels
                }
                let bounds = buckets.compactMap { Self.number(($0.labels["le"] ?? "")[...]) }
                guard bounds.count == buckets.count, bounds.last == .infinity, bounds == bounds.sorted(),
                    buckets.map(\.value) == buckets.map(\.value).sorted(), buckets.last?.value == count.value,
                    samples.contains(where: { $0.name == name + "_sum" && $0.labels == count.labels })
                else { throw Malformed(description: "the buckets of \(name)") }
            }
        }
    }
}
