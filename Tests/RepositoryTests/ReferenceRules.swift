import MeshModel

/// What programs and operators rely on stands in a reference page, and a page names nothing that is gone.
enum ReferenceRules {
    static let errors = "Docs/Reference/errors.md"
    static let limits = "Docs/Reference/limits.md"
    static let metrics = "Docs/Reference/metrics.md"
    static let workerSession = "Docs/Protocol/worker-session.md"

    /// One row per error code: `| `code` | status | …`.
    static func errorFindings(page: String) throws -> [Finding] {
        let rows = try PackageManifest.matches(#"^\|\s*`(\w+)`\s*\|\s*(\d+)\s*\|"#, page)
        let missing = ErrorCode.allCases.filter { !rows.contains([$0.rawValue, String($0.status)]) }
            .map { "\($0.rawValue) with status \($0.status) is missing" }
        let gone = rows.filter { ErrorCode(rawValue: $0[0]) == nil }.map { "\($0[0]) is no error code" }
        return (missing + gone).map { Finding(rule: "errors-page", path: errors, line: 1, text: $0) }
    }

    /// One row per limit: `| `name` | value | meaning |`.
    static func limitFindings(page: String, source: String) throws -> [Finding] {
        let declared = try PackageManifest.matches(#"^\s*package\s+static\s+let\s+(\w+)"#, source).map { $0[0] }
        let rows = try PackageManifest.matches(#"^\|\s*`(\w+)`\s*\|[^|]+\|\s*([^|\n]*?)\s*\|"#, page)
        let missing = declared.filter { name in !rows.contains { $0[0] == name && !$0[1].isEmpty } }
            .map { "\($0) is missing or not explained" }
        let gone = rows.map { $0[0] }.filter { !declared.contains($0) }.map { "\($0) is no limit" }
        return (missing + gone).map { Finding(rule: "limits-page", path: limits, line: 1, text: $0) }
    }

    /// One row per reason for which a worker's socket is closed: `| code | reason |`, in any order.
    static func closeReasonFindings(page: String, source: String) throws -> [Finding] {
        let texts = try PackageManifest.matches(#"^\s*case\s+(\w+)\s*=\s*"([^"]+)""#, source)
        let codes = try PackageManifest.matches(#"^\s*case\s+([.\w,\s]+):\s*(\d{4})$"#, source)
        let declared = texts.map { text in
            let code = codes.first { $0[0].split(whereSeparator: { ".,\n ".contains($0) }).contains { $0 == text[0] } }
            return [code?[1] ?? "", text[1]]
        }
        let rows = try PackageManifest.matches(#"^\|\s*(\d{4})\s*\|\s*([^|\n]*?)\s*\|$"#, page)
        let missing = declared.filter { !rows.contains($0) }.map { "\($0[1]) with code \($0[0]) is missing" }
        let gone = rows.filter { !declared.contains($0) }.map { "\($0[1]) with code \($0[0]) is no reason" }
        return (missing + gone).map { Finding(rule: "close-reasons", path: workerSession, line: 1, text: $0) }
    }

    /// Metric names as they are written at the place that makes them.
    static func metricNames(in text: String) throws -> [String] {
        try PackageManifest.matches(
            #"\b(?:Counter|FloatingPointCounter|Gauge|Meter|Recorder|Timer)\(\s*label:\s*"([^"\\]+)""#, text
        ).map { $0[0] }
    }

    /// One row per metric, as Prometheus shows it or as the code spells it.
    static func metricFindings(page: String, names: [String]) throws -> [Finding] {
        let rows = try PackageManifest.matches(#"^\|\s*`([\w.:]+)`\s*\|"#, page).map { $0[0] }
        return names.filter { name in
            let shown = name.replacing(".", with: "_")
            return !rows.contains { $0 == name || $0 == shown || $0 == shown + "_total" || $0 == shown + "_seconds" }
        }.map { Finding(rule: "metrics-page", path: metrics, line: 1, text: "\($0) is missing") }
    }
}
