package import MeshModel

/// What a provider's advert says about money and about what becomes of prompts: the one place that knows it as a record and
/// as values. An entry that is no price this node could count with is left out, as if it were not told.
extension PriceList {
    package init(_ body: Aisbf_Mesh_V1_ProviderAdvert) {
        self.init(
            body.prices.lazy.compactMap { entry in
                Prices(entry).map {
                    PriceList.Entry(model: entry.model.cut(toUTF8Bytes: Limits.recordTextBytes), prices: $0)
                }
            })
    }

    package func write(to body: inout Aisbf_Mesh_V1_ProviderAdvert) {
        body.prices = entries.map { entry in
            var message = entry.prices.record
            message.model = entry.model
            return message
        }
    }
}

extension Prices {
    fileprivate init?(_ message: Aisbf_Mesh_V1_ModelPrices) {
        guard let currency = Currency(message.currency) else { return nil }
        self.init(
            currency: currency, input: Int64(clamping: message.input),
            cachedInput: message.hasCachedInput ? Int64(clamping: message.cachedInput) : nil,
            output: Int64(clamping: message.output), request: Int64(clamping: message.request),
            image: Int64(clamping: message.image), second: Int64(clamping: message.second))
        guard isValid else { return nil }
    }

    fileprivate var record: Aisbf_Mesh_V1_ModelPrices {
        var message = Aisbf_Mesh_V1_ModelPrices()
        message.currency = currency.description
        message.input = UInt64(clamping: input)
        if let cachedInput { message.cachedInput = UInt64(clamping: cachedInput) }
        message.output = UInt64(clamping: output)
        message.request = UInt64(clamping: request)
        message.image = UInt64(clamping: image)
        message.second = UInt64(clamping: second)
        return message
    }
}

extension DataPolicy {
    package init(_ message: Aisbf_Mesh_V1_DataPolicy) {
        switch message {
        case .none: self = .none
        case .bounded: self = .bounded
        case .collected: self = .collected
        // A word of a later release is none that this one could keep anybody to.
        case .unspecified, .UNRECOGNIZED: self = .unknown
        }
    }

    package var record: Aisbf_Mesh_V1_DataPolicy {
        switch self {
        case .unknown: .unspecified
        case .none: .none
        case .bounded: .bounded
        case .collected: .collected
        }
    }
}
