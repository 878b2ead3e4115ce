internal import ArgumentParser

/// What the models of a provider cost.
struct PriceCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "price", abstract: "What a provider's models cost.",
        discussion: """
            Prices are signed by the provider's owner and told to the whole mesh. A model without a price of its own has
            that of *, where there is one; without any, its price is not known.
            """,
        subcommands: [Set.self, List.self, Remove.self])

    /// Of all models that have no price of their own.
    static let all = "*"

    struct Set: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Set prices; what is not named stays as it is, and is 0 where there was no price.")
        @OptionGroup var name: ProviderName
        @Argument(help: "The model as it is sold, without the provider; * for all that have no price of their own.")
        var model = PriceCommand.all
        @Option(help: "Of a million input tokens, such as 1.50.") var input: String?
        @Option(help: "Of a million input tokens that the provider had from an earlier request.")
        var cachedInput: String?
        @Option(name: .customLong("output"), help: "Of a million output tokens.") var outputPrice: String?
        @Option(help: "Of one request.") var request: String?
        @Option(help: "Of one image.") var image: String?
        @Option(help: "Of one second of sound or film.") var second: String?
        @Option(help: "Three capital letters, as in ISO 4217.") var currency: String?
        @OptionGroup var admin: AdminOptions
        @OptionGroup var output: OutputOptions

        private var amounts: [(name: String, text: String?)] {
            [
                ("currency", currency), ("input", input), ("cached_input", cachedInput), ("output", outputPrice),
                ("request", request), ("image", image), ("second", second),
            ]
        }

        func validate() throws {
            if amounts.allSatisfy({ $0.text == nil }) { throw ValidationError("nothing to change; see --help") }
        }

        func run() async throws {
            var price: [String: JSONValue] = [:]
            for (name, text) in amounts { price[name] = text.map(JSONValue.string) }
            let answer = try await PriceCommand.change(name, [model: .object(price)], admin)
            PriceCommand.show(answer, output)
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "List a provider's prices.")
        @OptionGroup var name: ProviderName
        @OptionGroup var admin: AdminOptions
        @OptionGroup var output: OutputOptions

        func run() async throws { PriceCommand.show(try await admin.client().get(name.path), output) }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Forget a price: that of one model, of * for the others, or all with --all.")
        @OptionGroup var name: ProviderName
        @Argument(help: "The model, or *.") var model: String?
        @Flag(help: "All prices of the provider.") var all = false
        @OptionGroup var admin: AdminOptions
        @OptionGroup var output: OutputOptions

        func validate() throws {
            if all == (model != nil) { throw ValidationError("name a model, *, or --all") }
        }

        func run() async throws {
            let client = try await admin.client()
            let prices: JSONValue = model.map { .object([$0: .null]) } ?? .null
            let answer = try await client.send("PATCH", name.path, body: .object(["prices": prices]))
            PriceCommand.show(answer, output)
        }
    }

    fileprivate static func change(
        _ name: ProviderName, _ prices: [String: JSONValue], _ admin: AdminOptions
    ) async throws -> JSONValue {
        try await admin.client().send("PATCH", name.path, body: .object(["prices": .object(prices)]))
    }

    fileprivate static func show(_ answer: JSONValue, _ output: OutputOptions) {
        let prices = ProviderDocument(answer).prices
        output.printList(
            .object(["prices": .array(prices)]), key: "prices", .prices,
            empty: "No prices: what the models cost is not known. Set one with 'aisbf provider price set'.")
    }
}
