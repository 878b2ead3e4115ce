import MeshWire

/// How a backend is sold at a node: the rules for its answers are the same.
enum Seller: String, CaseIterable, Sendable {
    /// Behind the worker agent of this package.
    case worker
    /// Asked by the node itself.
    case upstream

    static let upstreamKey = "sk-upstream-0123456789"

    /// Sells what listens at `backendPort` as the provider `lab`, for as long as `body` takes.
    func sell<Value: Sendable>(
        at node: TestNode, backendPort: Int, endpoints: [String] = [], maxConcurrency: Int = 64,
        _ body: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        switch self {
        case .worker:
            let made = try await node.administer(
                "POST", "providers",
                #"{"provider_id":"lab","access":"public","max_concurrency":\#(maxConcurrency)}"#)
            return try await withAgent(
                at: node, token: made["registration_token"]?.text ?? "", backendPort: backendPort,
                endpoints: endpoints, body)
        case .upstream:
            try await node.upstream(port: backendPort, endpoints: endpoints, maxConcurrency: maxConcurrency)
            return try await body()
        }
    }
}

extension TestNode {
    /// A provider that this node serves itself.
    func upstream(
        _ id: String = "lab", port: Int, key: String? = Seller.upstreamKey, endpoints: [String] = [],
        access: String = "public", maxConcurrency: Int = 64
    ) async throws {
        let body: JSONValue = [
            "provider_id": .string(id), "kind": "openai", "access": .string(access),
            "base_url": .string("http://127.0.0.1:\(port)/v1"), "api_key": .optional(key),
            "endpoints": .strings(endpoints), "max_concurrency": .integer(maxConcurrency),
        ]
        _ = try await administer("POST", "providers", String(decoding: body.bytes, as: UTF8.self))
    }
}
