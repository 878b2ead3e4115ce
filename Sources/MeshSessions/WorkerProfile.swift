package import MeshModel
package import MeshWire

/// What a worker said of itself when it registered.
package struct WorkerProfile: Hashable, Sendable {
    package var server = ""
    package var hardware = HardwareSummary() { didSet { offer.hardware = hardware.headline } }
    /// What it offers, without its models, which it lists in another message.
    package private(set) var offer = WorkerOffer()
    /// Largest frame it takes; released clients close the socket above 1 MiB.
    package var maxFrameBytes = Limits.workerRequestFrameBytes
    /// Whether it answers `pause` and `resume` for one request, so that a slow buyer slows only its own stream.
    package var controlsFlow = false
    /// Whether it sends large answers as binary frames with credit.
    package var sendsBinary = false
    /// Whether it passes `range` and `if-range` on to what serves the file.
    package var passesRanges = false
    /// Its capabilities as it sent them, `server` and `transports` normalised, as one object of JSON text of at most
    /// `Limits.workerCapabilityBytes`; empty when it sent none.
    package private(set) var capabilities: [UInt8] = []

    package init() {}

    /// Of an upstream that this node asks itself: what a worker can, it can.
    package init(server: String, endpoints: [String]) {
        self.server = server
        offer.endpoints = endpoints
        offer.takesUploads = true
        controlsFlow = true
        sendsBinary = true
        passesRanges = true
    }

    /// Reads a `register` message.
    package init(register message: JSONValue) {
        let payload = message["payload"] ?? .object([])
        hardware = HardwareSummary(payload: payload)
        offer.hardware = hardware.headline
        take(Self.capabilities(of: message) ?? .object([]), listed: Self.texts(payload["studio_endpoints"]))
    }

    /// The capabilities of a `register` message: those in the payload win over the top-level ones, where they say
    /// anything. Nil when it has none.
    package static func capabilities(of message: JSONValue) -> JSONValue? {
        let told = [message["payload"]?["capabilities"], message["capabilities"]].compactMap { $0 }
            .filter { $0.members != nil }
        return told.first { $0 != .object([]) } ?? told.first
    }

    /// Takes over the answer to `capabilities`, for a worker that registered without.
    /// - Returns: whether there was anything in it.
    package mutating func take(answer document: JSONValue) -> Bool {
        let inner = document["capabilities"] ?? document
        guard let members = inner.members, !members.isEmpty else { return false }
        take(inner, listed: offer.endpoints)
        return true
    }

    /// - Parameter listed: Studio endpoints it named beside its capabilities.
    private mutating func take(_ told: JSONValue, listed: [String]) {
        let name = told["server"]?.text ?? told["server"]?["name"]?.text ?? ""
        let version = told["version"]?.text ?? told["server"]?["version"]?.text ?? ""
        server = [name, version].filter { !$0.isEmpty }.joined(separator: " ").cut(toUTF8Bytes: 128)
            .filter { !$0.isNewline }
        offer.endpoints = Self.endpoints(listed, told)
        let frame = told["max_frame_bytes"]?.integer ?? Int64(Limits.workerRequestFrameBytes)
        maxFrameBytes = Int(min(max(frame, Int64(Limits.workerRequestFrameBytes)), Int64(Limits.workerFrameBytes)))
        offer.slots = Self.slots(told)
        controlsFlow = told["flow_control"]?.flag ?? false
        sendsBinary = told["binary_frames"]?.flag ?? false
        offer.takesUploads = told["uploads"]?.flag ?? false
        passesRanges = told["ranges"]?.flag ?? false
        capabilities = KeptJSON.object(Self.normalised(told), limit: Limits.workerCapabilityBytes)
    }

    /// 1 to `Limits.workerSlots`; 0 when it does not say.
    private static func slots(_ told: JSONValue) -> UInt32 {
        for name in ["slots", "max_concurrency"] {
            if let slots = told[name]?.integer, (1...Int64(Limits.workerSlots)).contains(slots) { return UInt32(slots) }
        }
        return 0
    }

    /// `server` becomes a text with `version` beside it, `transports` a list.
    private static func normalised(_ told: JSONValue) -> [JSONValue.Member] {
        var members = told.members ?? []
        for (position, member) in members.enumerated() {
            guard let inner = member.value.members else { continue }
            switch member.name {
            case "transports": members[position].value = .strings(inner.filter { $0.value.flag == true }.map(\.name))
            case "server":
                members[position].value = member.value["name"] ?? .null
                if told["version"] == nil, let version = member.value["version"] {
                    members.append(.init("version", version))
                }
            default: break
            }
        }
        return members
    }

    /// What it offers beside chat, without a leading slash: every Studio endpoint it names anywhere, unless it says that
    /// its Studio is off, and the families that `openai_compat` says it has.
    private static func endpoints(_ listed: [String], _ told: JSONValue) -> [String] {
        let studio = told["studio"]
        var names: [String] = []
        let flags = [studio?["enabled"]?.flag, studio?["supported"]?.flag].compactMap { $0 }
        if flags.isEmpty || flags.contains(true) {
            names = listed + texts(told["studio_endpoints"]) + texts(studio?["endpoints"])
            names += (studio?["endpoint_capabilities"]?.members ?? []).map(\.name)
        }
        for family in EndpointPath.Family.allCases where told["openai_compat"]?[family.rawValue]?.flag == true {
            names.append("v1/\(family.rawValue)")
        }
        var endpoints: [String] = []
        for name in names where endpoints.count < Limits.workerEndpoints {
            let plain = name.hasPrefix("/") ? String(name.dropFirst()) : name
            guard plain.utf8.count <= 128, HeaderRule.isValue(plain), !endpoints.contains(plain) else { continue }
            endpoints.append(plain)
        }
        return endpoints
    }

    private static func texts(_ value: JSONValue?) -> [String] { (value?.elements ?? []).compactMap(\.text) }

    /// The capabilities it sent, to be shown.
    package var capabilityMembers: [JSONValue.Member] { KeptJSON.members(capabilities) }
}
