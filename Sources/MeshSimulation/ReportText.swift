internal import MeshModel

/// A report for people and for programs.
package enum ReportText {
    package static func plain(_ report: ScenarioReport) -> String {
        var lines = ["\(report.scenario): \(report.nodes) nodes, \(report.records) records, seed \(report.seed)"]
        let width = report.figures.map(\.name.count).max() ?? 0
        for figure in report.figures {
            let padding = String(repeating: " ", count: width - figure.name.count + 2)
            lines.append("  \(figure.name)\(padding)\(figure.value) \(figure.unit)")
        }
        for check in report.checks {
            let detail = check.detail.isEmpty ? "" : " (\(check.detail))"
            lines.append("  \(check.holds ? "holds " : "FAILED") \(check.name)\(detail)")
        }
        lines.append("  trace \(report.traceHash)")
        return lines.joined(separator: "\n")
    }

    package static func json(_ report: ScenarioReport) -> String {
        let figures = report.figures.map {
            "{\"name\":\(quoted($0.name)),\"value\":\($0.value),\"unit\":\(quoted($0.unit))}"
        }
        let checks = report.checks.map {
            "{\"name\":\(quoted($0.name)),\"holds\":\($0.holds),\"detail\":\(quoted($0.detail))}"
        }
        return "{\"scenario\":\(quoted(report.scenario)),\"nodes\":\(report.nodes),\"records\":\(report.records),"
            + "\"seed\":\(report.seed),\"holds\":\(report.holds),\"trace\":\(quoted(report.traceHash.description)),"
            + "\"figures\":[\(figures.joined(separator: ","))],\"checks\":[\(checks.joined(separator: ","))]}"
    }

    private static func quoted(_ text: String) -> String {
        var output = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": output += "\\\(scalar)"
            case _ where scalar.value < 0x20: output += " "
            case _: output.unicodeScalars.append(scalar)
            }
        }
        return output + "\""
    }
}
