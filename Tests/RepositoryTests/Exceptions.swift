/// A finding that is meant to be, and why. An exception that is not needed any more fails the test.
struct RuleException: Sendable {
    let rule: String
    let path: String
    let reason: String

    init(_ rule: String, _ path: String, _ reason: String) {
        self.rule = rule
        self.path = path
        self.reason = reason
    }

    func covers(_ finding: Finding) -> Bool { finding.rule == rule && finding.path == path }

    static let all: [RuleException] = [
        RuleException(
            "unstructured-task", "Sources/MeshGateway/GatewayHandler.swift",
            "a channel handler has no task group to give a slow route to; its life is bounded by the route's deadlines"),
        RuleException(
            "pure-import", "Sources/MeshWire/GossipMessage.swift",
            "the bytes of a protobuf field are Foundation's Data, and nothing else of it is used"),
        RuleException(
            "enum-default", "Sources/MeshModel/ForeignWords.swift",
            "Unicode's general categories are not ours, and new ones are shown like those that are known"),
        RuleException(
            "enum-default", "Sources/MeshSessions/WorkerIdentity.swift",
            "Unicode's general categories are not ours, and new ones are shown like those that are known"),
        RuleException(
            "enum-default", "Sources/MeshStore/StoreError.swift",
            "SQLite's codes are numbers, and what is not known is told as it came"),
        RuleException(
            "enum-default", "Sources/MeshTransport/TLS/CertificateFacts.swift",
            "X.509 has more kinds of names than a browser compares"),
        RuleException(
            "enum-default", "Sources/MeshGateway/ResponsesSocket.swift",
            "a WebSocket frame's opcode is any of sixteen numbers, and those without a meaning end the connection"),
        RuleException(
            "enum-default", "Sources/MeshWorker/WorkerSession.swift",
            "a WebSocket frame's opcode is any of sixteen numbers, and those without a meaning are passed over"),
    ]
}
