internal import ArgumentParser

/// What may be used at this node.
struct LimitCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "limit", abstract: "What may be used: requests, tokens, money, from where, for what.",
        discussion: """
            A subject is written key/ID, user/NAME, provider/OWNER/NAME, rotation/OWNER/NAME, policy/OWNER/NAME or
            peer/NODE. Days and months are those of UTC.
            """,
        subcommands: [Set.self, List.self, Show.self, Remove.self])

    struct Amounts: ParsableArguments {
        @Option(help: "Requests in any 60 seconds.") var requestsPerMinute: Amount?
        @Option(help: "Tokens in any 60 seconds, of prompts and answers.") var tokensPerMinute: Amount?
        @Option(help: "Requests at once.") var concurrent: Amount?
        @Option(help: "Tokens in a day.") var tokensPerDay: Amount?
        @Option(help: "Tokens in a month.") var tokensPerMonth: Amount?
        @Option(help: "Money in a day, such as 2.50.") var moneyPerDay: Amount?
        @Option(help: "Money in a month, such as 20.") var moneyPerMonth: Amount?
        @Option(help: "The currency of both (default: USD).") var currency: String?
        @Option(help: "How long from now on it is good: 90s, 15m, 1h, 30d, 8w; or none.") var expires: Expiry?
        @Option(help: "A range that may ask, such as 192.0.2.0/24. May be repeated.") var allowAddress: [String] = []
        @Option(help: "A model that may be asked for; a '*' at its end stands for the rest. May be repeated.")
        var allowModel: [String] = []
        @Option(help: "A route that may be used, such as chat/completions or images/*. May be repeated.")
        var allowRoute: [String] = []

        /// - Parameter now: seconds since 1970.
        func body(now: Int64) throws -> JSONValue {
            var body: [String: JSONValue] = [:]
            for (name, amount) in [
                ("requests_per_minute", requestsPerMinute), ("tokens_per_minute", tokensPerMinute),
                ("concurrent", concurrent), ("tokens_per_day", tokensPerDay), ("tokens_per_month", tokensPerMonth),
            ] {
                guard let amount else { continue }
                guard let value = amount.whole else {
                    throw ValidationError("--\(name.replacing("_", with: "-")) is a whole number, or none")
                }
                body[name] = value
            }
            for (name, amount) in [("money_per_day", moneyPerDay), ("money_per_month", moneyPerMonth)] {
                if let amount { body[name] = amount.isNone ? .null : .string(amount.text) }
            }
            body["currency"] = currency.map { .string($0) }
            if let expires { body["expires_at"] = expires.seconds.map { .integer(now + $0) } ?? .null }
            for (name, list) in [
                ("allow_addresses", allowAddress), ("allow_models", allowModel), ("allow_routes", allowRoute),
            ] where !list.isEmpty {
                body[name] = list == ["none"] ? .null : .array(list.map { .string($0) })
            }
            return .object(body)
        }
    }

    /// An amount, or `none` for a limit that is taken away.
    struct Amount: ExpressibleByArgument {
        var text: String
        var isNone: Bool { text == "none" }
        var whole: JSONValue? { isNone ? .null : Int64(text).map { .integer($0) } }

        init?(argument: String) { text = argument }
    }

    struct Expiry: ExpressibleByArgument {
        var seconds: Int64?

        init?(argument: String) {
            if argument == "none" { return }
            guard let life = LifeSpan(argument) else { return nil }
            seconds = life.seconds
        }
    }

    struct Set: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Set limits of a subject. What is not named stays; 'none' takes a limit away.")
        @Argument(help: "key/ID, user/NAME, provider/OWNER/NAME …") var subject: String
        @OptionGroup var amounts: Amounts
        @OptionGroup var admin: AdminOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let body = try amounts.body(now: LocalTime.now)
            LimitCommand.show(
                try await admin.client().send("PATCH", try LimitCommand.path(subject), body: body), output)
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List who is limited, and what is left now.")
        @OptionGroup var admin: AdminOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let answer = try await admin.client().get("limits")
            output.printList(
                answer, key: "limits", .limits,
                empty: "Nobody is limited: aisbf limit set user/NAME --requests-per-minute 60")
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show the limits of a subject and what is left.")
        @Argument(help: "key/ID, user/NAME, provider/OWNER/NAME …") var subject: String
        @OptionGroup var admin: AdminOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            LimitCommand.show(try await admin.client().get(try LimitCommand.path(subject)), output)
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Take all limits of a subject away.")
        @Argument(help: "key/ID, user/NAME, provider/OWNER/NAME …") var subject: String
        @OptionGroup var admin: AdminOptions

        func run() async throws {
            _ = try await admin.client().send("DELETE", try LimitCommand.path(subject))
            Console.print("removed the limits of \(subject)")
        }
    }

    private static func path(_ subject: String) throws -> String {
        let parts = subject.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count >= 2, !parts.contains("") else {
            throw ValidationError("a subject is written key/ID, user/NAME, provider/OWNER/NAME, …")
        }
        return "limits/" + parts.map { AdminClient.segment(String($0)) }.joined(separator: "/")
    }

    /// Each limit on a line of its own, with what is left of it.
    private static func show(_ answer: JSONValue, _ output: OutputOptions) {
        if output.json { return Console.print(answer.pretty) }
        output.printObject(
            answer,
            fields: [
                ("subject", "subject"), ("currency", "currency"), ("expires", "expires_at"),
                ("addresses", "allow_addresses"), ("models", "allow_models"), ("routes", "allow_routes"),
                ("changed", "changed_at"),
            ])
        let rows = answer["now"]?.elements ?? []
        if !rows.isEmpty { Console.print(TableLayout.standings.table(rows).text) }
    }
}

extension TableLayout {
    static let standings = TableLayout(computed: [
        ("LIMIT", { $0["limit"]?.text ?? "" }), ("AMOUNT", { LocalTime.cell($0["amount"], key: "amount") }),
        ("LEFT", { LocalTime.cell($0["remaining"], key: "remaining") }),
        ("WHOLE AGAIN IN", { LimitCommand.time($0["resets_in_ms"]?.int ?? 0) }),
    ])

    static let limits = TableLayout(computed: [
        ("SUBJECT", { $0["subject"]?.text ?? "" }),
        (
            "LEFT NOW",
            { row in
                (row["now"]?.elements ?? []).map { standing in
                    let left = LocalTime.cell(standing["remaining"], key: "remaining")
                    let amount = LocalTime.cell(standing["amount"], key: "amount")
                    return "\(standing["limit"]?.text ?? "") \(left)/\(amount)"
                }.joined(separator: ", ")
            }
        ),
        (
            "RULES",
            { row in
                ["expires_at", "allow_addresses", "allow_models", "allow_routes"].filter { row[$0] != nil }
                    .joined(separator: ", ")
            }
        ),
    ])
}

extension LimitCommand {
    static func time(_ milliseconds: Int64) -> String {
        let seconds = (milliseconds + 999) / 1_000
        if seconds < 60 { return "\(seconds)s" }
        if seconds < 3_600 { return "\(seconds / 60)m\(seconds % 60)s" }
        let hours = seconds / 3_600
        return hours < 48 ? "\(hours)h\(seconds / 60 % 60)m" : "\(hours / 24)d\(hours % 24)h"
    }
}
