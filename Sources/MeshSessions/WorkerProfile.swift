package import MeshModel
package import MeshWire

/// One model a worker lists.
package struct WorkerModel: Hashable, Sendable {
    package var id: String
    package var contextTokens: Int64?
    package var modalities: [String] = []

    package init(id: String, contextTokens: Int64? = nil, modalities: [String] = []) {
        self.id = id
        self.contextTokens = contextTokens
        self.modalities = modalities
    }

    /// Reads an answer to `models.list` in any of the released shapes: the list under `data` or `models` or bare,
    /// items as strings or objects with `id`, `name` or `model`.
    package static func list(_ document: JSONValue) -> [WorkerModel]? {
        guard let items = document["data"]?.elements ?? document["models"]?.elements ?? document.elements
        else { return nil }
        var models: [WorkerModel] = []
        for item in items.prefix(Limits.workerModels) {
            guard let model = WorkerModel(item), !models.contains(where: { $0.id == model.id }) else { continue }
            models.append(model)
        }
        return models
    }

    private init?(_ item: JSONValue) {
        let name = item.text ?? item["id"]?.text ?? item["name"]?.text ?? item["model"]?.text
        guard let name, !name.isEmpty, name.utf8.count <= Limits.recordTextBytes, HeaderRule.isValue(name) else {
            return nil
        }
        id = name
        let context =
            item["context_window"]?.integer ?? item["context_length"]?.integer ?? item["max_context_length"]?.integer
        contextTokens = context.flatMap { (1...100_000_000).contains($0) ? $0 : nil }
        let listed = item["architecture"]?["input_modalities"]?.elements ?? []
        modalities = listed.prefix(8).compactMap { $0.text }.filter { $0.utf8.count <= 32 }
    }
}

/// What a worker said of itself when it registered.
package struct WorkerProfile: Hashable, Sendable {
    package var server = ""
    package var hardware = HardwareSummary()
    package var endpoints: [String] = []
    /// Largest frame it takes; released clients close the socket above 1 MiB.
    package var maxFrameBytes = Limits.workerRequestFrameBytes
    /// Whether it answers `pause` and `resume` for one request, so that a slow buyer slows only its own stream.
    package var controlsFlow = false
    /// Whether it sends large answers as binary frames with credit.
    package var sendsBinary = false
    /// Whether it takes a request's body in binary frames after the request, as it gives credit.
    package var takesUploads = false

    package init() {}

    /// Reads a `register` message; `payload.capabilities` wins over the top-level one.
    package init(register message: JSONValue) {
        let payload = message["payload"] ?? .object([])
        let capabilities = payload["capabilities"] ?? message["capabilities"] ?? .object([])
        let name = capabilities["server"]?.text ?? capabilities["server"]?["name"]?.text ?? ""
        let version = capabilities["version"]?.text ?? capabilities["server"]?["version"]?.text ?? ""
        server = "\(name) \(version)".cut(toUTF8Bytes: 128).filter { !$0.isNewline }
        hardware = HardwareSummary(payload: payload)
        endpoints = Self.endpoints(payload, capabilities)
        let frame = capabilities["max_frame_bytes"]?.integer ?? Int64(Limits.workerRequestFrameBytes)
        maxFrameBytes = Int(min(max(frame, Int64(Limits.workerRequestFrameBytes)), Int64(Limits.workerFrameBytes)))
        controlsFlow = capabilities["flow_control"]?.flag ?? false
        sendsBinary = capabilities["binary_frames"]?.flag ?? false
        takesUploads = capabilities["uploads"]?.flag ?? false
    }

    /// What it offers beside chat, without a leading slash: the Studio endpoints it lists, and the families that
    /// `openai_compat` says it has.
    private static func endpoints(_ payload: JSONValue, _ capabilities: JSONValue) -> [String] {
        let studio = capabilities["studio"]
        let listed = payload["studio_endpoints"]?.elements ?? studio?["endpoints"]?.elements ?? []
        var names = listed.compactMap { $0.text } + (studio?["endpoint_capabilities"]?.members ?? []).map(\.name)
        for family in EndpointPath.Family.allCases where capabilities["openai_compat"]?[family.rawValue]?.flag == true {
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
}

/// Who a worker is, settled at the handshake; nothing it sends later changes it.
package struct WorkerIdentity: Hashable, Sendable {
    /// Record key of the provider's advert: names owner and provider id at once.
    package var provider: RecordKey
    package var providerID: String
    package var scope: OwnerScope
    package var clientID: String

    package init(provider: RecordKey, providerID: String, scope: OwnerScope, clientID: String) {
        self.provider = provider
        self.providerID = providerID
        self.scope = scope
        self.clientID = clientID
    }
}
