import Foundation
import Histogram

enum Percentiles {
    /// `NAME_p50_us` and `NAME_p99_us` of nanoseconds.
    static func microseconds(_ values: [UInt64], _ name: String) -> Figures {
        var histogram = Histogram<UInt64>(highestTrackableValue: 60_000_000_000, numberOfSignificantValueDigits: .three)
        for value in values { histogram.record(min(value, 60_000_000_000)) }
        guard histogram.totalCount > 0 else { return [:] }
        return [
            "\(name)_p50_us": Double(histogram.valueAtPercentile(50)) / 1_000,
            "\(name)_p99_us": Double(histogram.valueAtPercentile(99)) / 1_000,
        ]
    }
}

/// Every run of every case, and what it says about the goals.
struct Report: Codable {
    struct Goal: Codable {
        var id: String
        var what: String
        var goal: String
        var measured: String
        /// Nil where a figure is shown beside a goal and is none itself.
        var met: Bool?
    }

    var date: String
    var machine: String
    var cores: Int
    var seconds: Int
    var runs: [String: [Figures]] = [:]
    var medians: [String: Figures] = [:]
    var goals: [Goal] = []

    init(seconds: Int) {
        date = ISO8601DateFormatter().string(from: Date())
        let cpu = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
        let model = cpu.split(separator: "\n").first { $0.hasPrefix("model name") }?.split(separator: ":").last
        machine = (model ?? "unknown").trimmingCharacters(in: .whitespaces)
        cores = ProcessInfo.processInfo.activeProcessorCount
        self.seconds = seconds
    }

    mutating func conclude() {
        medians = runs.mapValues { runs in
            var result: Figures = [:]
            for name in Set(runs.flatMap(\.keys)) { result[name] = Self.median(runs.compactMap { $0[name] }) }
            return result
        }
        goals = []
        rates()
        latencies()
        streams()
        standing()
    }

    private static func median(_ values: [Double]) -> Double {
        let sorted = values.sorted()
        guard let last = sorted.last else { return 0 }
        let middle = sorted.count / 2
        return sorted.count % 2 == 1
            ? sorted[middle] : (sorted[middle - 1] + (sorted.count > 1 ? sorted[middle] : last)) / 2
    }

    private func value(_ name: String, _ figure: String) -> Double? { medians[name]?[figure] }

    private mutating func add(_ id: String, _ what: String, _ goal: String, _ measured: String, _ met: Bool?) {
        goals.append(Goal(id: id, what: what, goal: goal, measured: measured, met: met))
    }

    private mutating func rates() {
        let rate = "requests_per_second"
        if let node = value("rate.node", rate), let nginx = value("rate.nginx", rate) {
            add(
                "P1", "requests/s against nginx, 64 connections", "≥ 1.00 ×",
                "\(text(node / nginx, 2)) × (\(text(node)) : \(text(nginx)))", node >= nginx)
        }
        if let cpu = value("rate.node", "cpu_us_per_request"), let nginx = value("rate.nginx", "cpu_us_per_request") {
            add(
                "P1", "CPU of the node per request", "≤ 35 µs", "\(text(cpu, 1)) µs (nginx \(text(nginx, 1)))",
                cpu <= 35)
        }
        if let second = value("rate.second", rate), let node = value("rate.node", rate) {
            add(
                "P6", "requests/s through a second node", "≥ 0.60 × P1's",
                "\(text(second / node, 2)) × (\(text(second)))", second >= 0.6 * node)
        }
    }

    private mutating func latencies() {
        for (percentile, goal) in [("p50", 0.25), ("p99", 0.9)] {
            let name = "latency_\(percentile)_us"
            guard let node = value("one.node", name), let direct = value("one.direct", name) else { continue }
            let added = (node - direct) / 1_000
            let nginx = (value("one.nginx", name) ?? direct) - direct
            add(
                "P2", "added latency \(percentile), one connection", "≤ \(goal) ms",
                "\(text(added, 2)) ms (nginx \(text(nginx / 1_000, 2)))", added <= goal)
        }
        for percentile in ["p50", "p99"] {
            let name = "latency_\(percentile)_us"
            guard let second = value("one.second", name), let node = value("one.node", name) else { continue }
            let added = (second - node) / 1_000
            add(
                "P6", "added by the second node, \(percentile)", percentile == "p99" ? "≤ 1 RTT + 1 ms" : "–",
                "\(text(added, 2)) ms", percentile == "p50" ? nil : added <= 1.05)
        }
    }

    private mutating func streams() {
        for pace in ["2000", "10000"] {
            let (nodeName, nginxName) = ("stream\(pace).node", "stream\(pace).nginx")
            let what = "\(pace) chunks/s on 100 streams"
            for percentile in ["p50", "p99"] where pace == "2000" {
                let name = "first_chunk_\(percentile)_us"
                guard let node = value(nodeName, name), let nginx = value(nginxName, name) else { continue }
                add(
                    "P3", "first chunk \(percentile), \(what)", "≤ 1.2 × nginx",
                    "\(text(node / nginx, 2)) × (\(text(node / 1_000, 2)) : \(text(nginx / 1_000, 2)) ms)",
                    node <= 1.2 * nginx)
            }
            if let node = value(nodeName, "cpu_us_per_chunk"), let nginx = value(nginxName, "cpu_us_per_chunk") {
                add(
                    "P3", "CPU per chunk, \(what)", "≤ 1.2 × nginx",
                    "\(text(node / nginx, 2)) × (\(text(node, 1)) : \(text(nginx, 1)) µs)", node <= 1.2 * nginx)
            }
        }
        for count in [512, 1_000] {
            guard let late = value("many\(count).node", "late_chunks"),
                let lost = value("many\(count).node", "lost_chunks")
            else { continue }
            let total = value("many\(count).node", "chunks") ?? 0
            let nginx = value("many\(count).nginx", "late_chunks").map { ", nginx \(text($0)) late" } ?? ""
            add(
                "P4", "\(count) streams of 20 ms chunks", "0 late, 0 lost",
                "\(text(late)) late, \(text(lost)) lost of \(text(total + lost))\(nginx)", late == 0 && lost == 0)
        }
    }

    private mutating func standing() {
        if let idle = value("memory", "idle_mb") {
            add("P7", "memory of an idle node", "≤ 48 MB", "\(text(idle, 1)) MB", idle <= 48)
        }
        if let session = value("memory", "kib_per_session"), let count = value("memory", "sessions") {
            add(
                "P7", "memory of an idle worker session", "≤ 12 KiB",
                "\(text(session, 1)) KiB (\(text(count)) sessions)", session <= 12 && count >= Double(Standing.workers))
        }
        if let start = value("cold", "cold_start_ms") {
            add("P8", "cold start to the first 200", "≤ 600 ms", "\(text(start)) ms", start <= 600)
        }
    }

    private func text(_ value: Double, _ digits: Int = 0) -> String { String(format: "%.\(digits)f", value) }

    var table: String {
        let rows =
            [["goal", "what", "wanted", "measured", "met"]]
            + goals.map { [$0.id, $0.what, $0.goal, $0.measured, $0.met.map { $0 ? "yes" : "no" } ?? "–"] }
        let widths = (0..<5).map { column in rows.map { $0[column].count }.max() ?? 0 }
        return rows.enumerated().map { index, row in
            let line =
                "| "
                + zip(row, widths).map { $0 + String(repeating: " ", count: $1 - $0.count) }.joined(separator: " | ")
                + " |"
            guard index == 0 else { return line }
            return line + "\n|" + widths.map { String(repeating: "-", count: $0 + 2) }.joined(separator: "|") + "|"
        }.joined(separator: "\n")
    }

    var json: Data {
        get throws {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
            return try encoder.encode(self)
        }
    }
}
