import MeshAccounting
import MeshModel
import MeshWire

/// What this node's own reports are asked for, from the query.
struct UsageAsked {
    var query: UsageQuery
    let isSeller: Bool
    private let by: String

    private static let columns: [(name: String, column: UsageColumn)] = [
        ("key", .key), ("user", .username), ("provider", .provider), ("model", .model), ("node", .node),
        ("kind", .kind), ("outcome", .outcome),
    ]

    init(_ query: [(name: String, value: String)], now: Timestamp) throws(MeshError) {
        func value(_ name: String) -> String? { query.last { $0.name == name }?.value }
        by = value("by") ?? "model"
        isSeller = value("side") == "seller"
        guard let column = Self.columns.first(where: { [by] in $0.name == by })?.column else {
            throw MeshError(
                .invalidRequest, "'by' is one of \(Self.columns.map(\.name).joined(separator: ", "))", parameter: "by")
        }
        let since = try Self.time(value("since"), "since") ?? QuotaPeriod(.month, at: now).start.seconds
        let until = try Self.time(value("until"), "until") ?? now.seconds + 60
        guard since <= until else {
            throw MeshError(.invalidRequest, "'since' lies behind 'until'", parameter: "since")
        }
        self.query = UsageQuery(from: since, until: until, groups: [column, .outcome, .currency])
    }

    /// Seconds since 1970, or a day of UTC.
    static func time(_ text: String?, _ name: String) throws(MeshError) -> Int64? {
        guard let text else { return nil }
        if let seconds = Int64(text), (0...4_102_444_800).contains(seconds) { return seconds }
        if let period = QuotaPeriod(text) { return period.start.seconds }
        throw MeshError(
            .invalidRequest, "'\(name)' is a day such as 2026-11-29, or seconds since 1970", parameter: name)
    }

    /// One line for each of what is asked for; what was not served is told apart by its reason.
    func document(_ sums: [UsageSum]) -> JSONValue {
        var order: [String] = []
        var lines: [String: Line] = [:]
        for sum in sums {
            let name = sum.values[0]
            if lines[name] == nil {
                order.append(name)
                lines[name] = Line()
            }
            lines[name]?.add(sum, outcome: sum.values[1], currency: sum.values[2])
        }
        return [
            "object": "usage", "by": .string(by), "side": .string(isSeller ? "seller" : "buyer"),
            "since": .integer(query.from), "until": .integer(query.until),
            "data": .array(order.map { lines[$0]?.document(by, $0, isSeller: isSeller) ?? .null }),
        ]
    }

    private struct Line {
        var amounts = UsageAmounts()
        var served: Int64 = 0
        var money: [(currency: String, amount: Int64)] = []
        var refused: [(reason: String, count: Int64)] = []

        mutating func add(_ sum: UsageSum, outcome: String, currency: String) {
            amounts += sum.amounts
            if outcome == UsageGroup.served {
                served += sum.amounts.requests
            } else if let known = refused.firstIndex(where: { $0.reason == outcome }) {
                refused[known].count += sum.amounts.requests
            } else {
                refused.append((outcome, sum.amounts.requests))
            }
            guard sum.amounts.money > 0 else { return }
            if let known = money.firstIndex(where: { $0.currency == currency }) {
                money[known].amount += sum.amounts.money
            } else {
                money.append((currency, sum.amounts.money))
            }
        }

        func document(_ by: String, _ name: String, isSeller: Bool) -> JSONValue {
            [
                by: .string(name), "requests": .integer(amounts.requests),
                "served": .integer(served), "input_tokens": .integer(amounts.input),
                "cached_tokens": .integer(amounts.cached), "output_tokens": .integer(amounts.output),
                "estimated_requests": .integer(amounts.estimated), "images": .integer(amounts.images),
                "request_ms": .integer(amounts.milliseconds),
                isSeller ? "earnings" : "cost": .object(
                    money.map { .init($0.currency, .string(FixedPoint.shortText($0.amount, digits: 6))) }),
                "failed": .object(refused.map { .init($0.reason, .integer($0.count)) }),
            ]
        }
    }
}

/// A page of OpenAI's usage and costs.
struct UsagePage {
    var query: UsageQuery
    private let width: Int64
    /// Of the first bucket of this page, and behind its last; behind the last of all.
    private let start: Int64
    private let end: Int64
    private let last: Int64
    /// As they were asked for, with the column of each; nil for what this node does not tell apart.
    private let groups: [(name: String, column: UsageColumn?)]

    private static let widths: [(name: String, seconds: Int64, usual: Int64, most: Int64)] = [
        ("1m", 60, 60, 1_440), ("1h", 3_600, 24, 168), ("1d", 86_400, 7, 31),
    ]

    init(_ items: [(name: String, value: String)], now: Timestamp, isCosts: Bool = false) throws(MeshError) {
        func value(_ name: String) -> String? { items.last { $0.name == name }?.value }
        let name = value("bucket_width") ?? "1d"
        guard let width = Self.widths.first(where: { $0.name == name }), !isCosts || name == "1d" else {
            let known = isCosts ? "1d" : "1m, 1h or 1d"
            throw MeshError(.invalidRequest, "'bucket_width' is \(known)", parameter: "bucket_width")
        }
        guard let from = value("start_time").flatMap({ Int64($0) }), (0...now.seconds + 86_400).contains(from) else {
            throw MeshError(
                .invalidRequest, "'start_time' is needed, in seconds since 1970", parameter: "start_time")
        }
        let until = value("end_time").flatMap { Int64($0) } ?? now.seconds + 1
        let most = isCosts ? 180 : width.most
        let count = value("limit").flatMap { Int64($0) } ?? width.usual
        guard (1...most).contains(count) else {
            throw MeshError(.invalidRequest, "'limit' is 1 to \(most) here", parameter: "limit")
        }
        self.width = width.seconds
        // The next page begins where the last one ended.
        let page = value("page").flatMap { $0.hasPrefix("page_") ? Int64($0.dropFirst(5)) : nil }
        let first = from / width.seconds * width.seconds
        start = max(first, (page ?? first) / width.seconds * width.seconds)
        last = min(max(until, first), now.seconds + 86_400)
        end = min(start + count * width.seconds, (last + width.seconds - 1) / width.seconds * width.seconds)
        groups = items.filter { $0.name == "group_by" || $0.name == "group_by[]" }
            .flatMap { $0.value.split(separator: ",").map(String.init) }.prefix(8).map { ($0, Self.column($0)) }
        query = UsageQuery(
            from: start, until: min(end, last), width: width.seconds, groups: groups.compactMap(\.column))
        for (parameter, column) in [
            ("models", UsageColumn.model), ("api_key_ids", .key), ("user_ids", .username),
        ] {
            let values = items.filter { $0.name == parameter || $0.name == "\(parameter)[]" }.map(\.value).prefix(64)
            if !values.isEmpty { query.filters.append(.init(column, Array(values))) }
        }
    }

    private static func column(_ name: String) -> UsageColumn? {
        switch name {
        case "model", "line_item": .model
        case "api_key_id": .key
        case "user_id": .username
        default: nil
        }
    }

    func document(_ sums: [UsageSum], _ result: (UsageSum) -> JSONValue) -> JSONValue {
        var buckets: [JSONValue] = []
        var rest = sums[...]
        var at = start
        while at < end, Int64(buckets.count) < Limits.usageBuckets {
            let own = rest.prefix { $0.start == at }
            rest = rest.dropFirst(own.count)
            buckets.append([
                "object": "bucket", "start_time": .integer(at), "end_time": .integer(at + width),
                "results": .array(own.map(result)),
            ])
            at += width
        }
        let hasMore = at < last
        return [
            "object": "page", "data": .array(buckets), "has_more": .boolean(hasMore),
            "next_page": hasMore ? .string("page_\(at)") : .null,
        ]
    }

    /// Null for what was not asked to be told apart.
    private func grouped(_ sum: UsageSum) -> [JSONValue.Member] {
        let names = ["project_id", "user_id", "api_key_id", "model", "batch", "service_tier"]
        return names.map { name in
            let asked = groups.filter { $0.column != nil }.firstIndex { $0.name == name }
            return .init(name, asked.map { .string(sum.values[$0]) } ?? .null)
        }
    }

    func result(_ kind: UsageKind, _ sum: UsageSum) -> JSONValue {
        var members: [JSONValue.Member] = [.init("object", .string("organization.usage.\(kind.rawValue).result"))]
        let amounts = sum.amounts
        switch kind {
        case .completions:
            members += [
                .init("input_tokens", .integer(amounts.input)), .init("output_tokens", .integer(amounts.output)),
                .init("input_cached_tokens", .integer(amounts.cached)), .init("input_audio_tokens", 0),
                .init("output_audio_tokens", 0),
            ]
        case .embeddings, .moderations, .other: members.append(.init("input_tokens", .integer(amounts.input)))
        case .images: members.append(.init("images", .integer(amounts.images)))
        case .audioSpeeches: members.append(.init("characters", 0))
        case .audioTranscriptions: members.append(.init("seconds", 0))
        }
        members.append(.init("num_model_requests", .integer(amounts.requests)))
        return .object(members + grouped(sum))
    }

    func cost(_ sum: UsageSum) -> JSONValue {
        let line = groups.filter { $0.column != nil }.firstIndex { $0.name == "line_item" }
        return [
            "object": "organization.costs.result",
            "amount": [
                "value": .money(sum.amounts.money), "currency": .string((sum.values.last ?? "").lowercased()),
            ],
            "line_item": line.map { .string(sum.values[$0]) } ?? .null, "project_id": .null,
            "api_key_id": groups.filter { $0.column != nil }.firstIndex { $0.name == "api_key_id" }
                .map { .string(sum.values[$0]) } ?? .null,
        ]
    }
}
