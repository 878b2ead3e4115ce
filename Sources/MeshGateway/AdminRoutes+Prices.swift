import MeshModel
import MeshRuntime
import MeshWire

/// What models cost and what becomes of prompts, read from a request.
extension AdminRoutes {
    /// How the price of all models without one of their own is called.
    static let allModels = "*"

    /// Decimal places between a price as people write it and as it is kept: of a million tokens, or of one thing.
    private enum Places {
        static let million = 6
        static let one = 12
    }

    static func dataPolicy(_ body: JSONValue) throws(MeshError) -> DataPolicy? {
        guard let value = body["data_policy"], value != .null else { return nil }
        guard let policy = value.text.flatMap(DataPolicy.init(rawValue:)) else {
            let words = DataPolicy.allCases.map(\.rawValue).joined(separator: ", ")
            throw MeshError(.invalidRequest, "data_policy is one of \(words)", parameter: "data_policy")
        }
        return policy
    }

    /// `{"MODEL": {"input": "1.50", …}, "*": …, "OTHER": null}`; null in the place of it all removes all.
    static func prices(_ body: JSONValue) throws(MeshError) -> PriceChange? {
        guard let value = body["prices"] else { return nil }
        if value == .null { return PriceChange(removesAll: true) }
        guard let members = value.members else {
            throw MeshError(
                .invalidRequest, "'prices' must be an object with models, or '*' for all others", parameter: "prices")
        }
        var change = PriceChange()
        for member in members { change.entries.append(try price(member.name, member.value)) }
        return change
    }

    private static func price(_ model: String, _ value: JSONValue) throws(MeshError) -> PriceChange.Entry {
        var entry = PriceChange.Entry(model: model == allModels ? "" : model)
        guard value != .null else {
            entry.isRemoved = true
            return entry
        }
        guard let members = value.members, !members.isEmpty else {
            throw MeshError(.invalidRequest, "a price is an object such as {\"input\": \"1.50\"}", parameter: "prices")
        }
        for member in members {
            switch member.name {
            case "currency":
                guard let currency = member.value.text.flatMap({ Currency($0) }) else {
                    throw MeshError(
                        .invalidRequest, "a currency has three capital letters, such as USD", parameter: "prices")
                }
                entry.currency = currency
            case "input": entry.input = try amount(member, Places.million)
            case "cached_input":
                entry.cachedInput = member.value == .null ? .removed : .set(try amount(member, Places.million))
            case "output": entry.output = try amount(member, Places.million)
            case "request": entry.request = try amount(member, Places.one)
            case "image": entry.image = try amount(member, Places.one)
            case "second": entry.second = try amount(member, Places.one)
            default:
                throw MeshError(
                    .invalidRequest,
                    "a price has currency, input, cached_input, output, request, image and second",
                    parameter: "prices")
            }
        }
        return entry
    }

    /// A decimal number, as text or as a number: never through a floating-point one.
    private static func amount(_ member: JSONValue.Member, _ places: Int) throws(MeshError) -> Int64 {
        let text: String? =
            switch member.value {
            case .string(let text), .number(let text): text
            case .null, .boolean, .array, .object: nil
            }
        guard let text, text.utf8.count <= 32, let number = FixedPoint.parse(Array(text.utf8), digits: places) else {
            throw MeshError(
                .invalidRequest, "'\(member.name)' must be a decimal number that is not below zero, such as 1.50",
                parameter: "prices")
        }
        guard number.isExact else {
            throw MeshError(
                .invalidRequest, "'\(member.name)' has more than \(places) decimal places", parameter: "prices")
        }
        return number.value
    }
}

extension PriceList {
    /// As they are set: of a million tokens, or of one thing.
    var documents: JSONValue {
        .array(
            entries.map { entry in
                let model = entry.model.isEmpty ? AdminRoutes.allModels : entry.model
                return .object([.init("model", .string(model))] + entry.prices.members)
            })
    }
}

extension Prices {
    var members: [JSONValue.Member] {
        [
            .init("currency", .string(currency.description)), .init("input", Self.text(input, 6)),
            .init("cached_input", cachedInput.map { Self.text($0, 6) } ?? .null),
            .init("output", Self.text(output, 6)), .init("request", Self.text(request, 12)),
            .init("image", Self.text(image, 12)), .init("second", Self.text(second, 12)),
        ]
    }

    /// As buyers' tools read them: dollars for one token, one request, one image.
    var pricing: JSONValue {
        [
            "prompt": Self.text(input, 12), "completion": Self.text(output, 12), "request": Self.text(request, 12),
            "image": Self.text(image, 12), "input_cache_read": Self.text(cachedInput ?? input, 12),
            "web_search": "0", "internal_reasoning": "0",
        ]
    }

    private static func text(_ value: Int64, _ digits: Int) -> JSONValue {
        .string(FixedPoint.shortText(value, digits: digits))
    }
}
