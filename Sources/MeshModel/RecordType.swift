/// What a record says and how long it may say it (Docs/Protocol/records.md).
package enum RecordType: UInt8, CaseIterable, Sendable {
    case nodeDescriptor = 1
    case beacon = 2
    case providerAdvert = 3
    case attachGrant = 4
    case attachment = 5

    /// Longest time between `issued` and `expires`, in milliseconds.
    package var maximumLifeMs: Int64 {
        switch self {
        case .nodeDescriptor, .providerAdvert: 7 * 86_400_000
        case .beacon: 900_000
        case .attachGrant: 48 * 3_600_000
        case .attachment: 24 * 3_600_000
        }
    }

    /// Beacons are leases: they are pushed, but neither stored nor reconciled.
    package var isReconciled: Bool { self != .beacon }

    package var name: String {
        switch self {
        case .nodeDescriptor: "node-descriptor"
        case .beacon: "beacon"
        case .providerAdvert: "provider-advert"
        case .attachGrant: "attach-grant"
        case .attachment: "attachment"
        }
    }
}

/// Why a record was not taken. The raw value is the metric label.
package enum RecordRejection: String, Error, CaseIterable, Sendable {
    case truncated, oversize, magic
    case unknownType = "unknown_type"
    case unknownSuite = "unknown_suite"
    case unknownFlags = "unknown_flags"
    case wrongNetwork = "wrong_network"
    case length, lifetime, expired, future
    case epochAhead = "epoch_ahead"
    case banned, quota
    case smallOrderKey = "small_order_key"
    case signature, body
    case recordKey = "record_key"
    case semantics
}
