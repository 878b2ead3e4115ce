/// The spelling rules of Prometheus' text exposition format 0.0.4.
enum ExpositionText {
    /// A metric name: `[a-zA-Z_:][a-zA-Z0-9_:]*`; everything else becomes an underscore.
    static func name(_ label: String) -> String { identifier(label, colon: true) }

    /// `a="1",b="2"`, sorted by label name, so that one set of dimensions is one series.
    static func labels(_ dimensions: [(String, String)]) -> String {
        dimensions.map { (identifier($0.0, colon: false), $0.1) }.sorted { $0.0 < $1.0 }
            .map { "\($0.0)=\"\(labelValue($0.1))\"" }.joined(separator: ",")
    }

    static func braces(_ labels: String) -> String { labels.isEmpty ? "" : "{\(labels)}" }

    static func helpText(_ text: String) -> String {
        text.unicodeScalars.map { $0 == "\\" ? "\\\\" : $0 == "\n" ? "\\n" : String($0) }.joined()
    }

    static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value > 0 ? "+Inf" : "-Inf" }
        return value == value.rounded() && abs(value) < 1e15 ? String(Int64(value)) : String(value)
    }

    private static func labelValue(_ text: String) -> String {
        text.unicodeScalars.map {
            switch $0 {
            case "\\": "\\\\"
            case "\"": "\\\""
            case "\n": "\\n"
            default: String($0)
            }
        }.joined()
    }

    private static func identifier(_ text: String, colon: Bool) -> String {
        var output: [UInt8] = []
        for byte in text.utf8 {
            switch byte {
            case 0x41...0x5A, 0x61...0x7A, 0x5F: output.append(byte)
            case 0x30...0x39: output += output.isEmpty ? [0x5F, byte] : [byte]
            case 0x3A where colon: output.append(byte)
            default: output.append(0x5F)
            }
        }
        return output.isEmpty ? "_" : String(decoding: output, as: UTF8.self)
    }
}
