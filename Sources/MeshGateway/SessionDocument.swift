import MeshModel
import MeshRuntime
import MeshSessions
import MeshWire

/// A worker session as operators and owners see it; field names as AISBF's dashboards expect them.
enum SessionDocument {
    static func make(_ session: WorkerSession) -> JSONValue {
        let details = session.current
        return [
            "session_id": .string(session.sessionID), "provider_id": .string(session.identity.providerID),
            "client_id": .string(session.identity.clientID), "worker": .string(session.mark), "connected": true,
            "connected_at": .integer(session.connectedAt.seconds), "last_seen": .integer(session.lastSeen.seconds),
            "owner": .string(session.identity.scope.username),
            "server": .string(details.profile.server), "models": .strings(details.models.map(\.id)),
            "in_flight": .integer(session.requestsInFlight),
            "metadata": [
                "owner": .string(session.identity.scope.username),
                "scope": .string(session.identity.scope == .global ? "global" : "user"),
                "studio_endpoints": .strings(details.profile.endpoints), "hardware": hardware(details.profile.hardware),
            ],
            "capabilities": capabilities(details.profile),
            "hardware": hardware(details.profile.hardware), "performance": performance(details.performance),
        ]
    }

    /// What the worker sent of itself, and behind it what this node makes of it.
    private static func capabilities(_ profile: WorkerProfile) -> JSONValue {
        let ours: [JSONValue.Member] = [
            .init("max_frame_bytes", .integer(profile.maxFrameBytes)), .init("slots", .integer(profile.slots)),
            .init("flow_control", .boolean(profile.controlsFlow)),
            .init("binary_frames", .boolean(profile.sendsBinary)), .init("uploads", .boolean(profile.takesUploads)),
        ]
        return .object(profile.capabilityMembers.filter { told in !ours.contains { $0.name == told.name } } + ours)
    }

    private static func hardware(_ hardware: HardwareSummary) -> JSONValue {
        let known: [JSONValue.Member] = [
            .init("hostname", .string(hardware.hostname)), .init("platform", .string(hardware.platform)),
            .init("gpu_count", .integer(hardware.gpuCount)), .init("gpus", .array(hardware.gpus.map(gpu))),
        ]
        return .object(known + sizes(hardware.memory) + hardware.extraMembers)
    }

    private static func gpu(_ gpu: HardwareSummary.GPU) -> JSONValue {
        let known: [JSONValue.Member] = [
            .init("index", .integer(gpu.index)), .init("name", .string(gpu.name)), .init("vendor", .string(gpu.vendor)),
        ]
        return .object(known + sizes(gpu.memory) + gpu.extraMembers)
    }

    private static func sizes(_ memory: VideoMemory) -> [JSONValue.Member] {
        [
            .init("total_vram_mb", number(memory.totalMb)), .init("available_vram_mb", number(memory.availableMb)),
            .init("used_vram_mb", number(memory.usedMb)),
        ]
    }

    private static func performance(_ window: PerformanceWindow) -> JSONValue {
        [
            "window_size": .integer(Limits.performanceSamples), "sample_count": .integer(window.count),
            "avg_latency_ms": number(window.averageLatencyMs),
            "avg_first_content_ms": number(window.averageFirstContentMs),
            "avg_tokens_per_second": number(window.averageTokensPerSecond),
            "avg_total_tokens": number(window.averageTokens),
            "success_rate": .number(perMille(window.successPerMille)),
            "last_latency_ms": number(window.last?.latencyMs), "last_total_tokens": number(window.last?.totalTokens),
            "last_tokens_per_second": number(window.last?.tokensPerSecond),
            "last_success": window.last.map { .boolean($0.isSuccess) } ?? .null,
        ]
    }

    private static func number(_ value: Int64?) -> JSONValue { value.map { .integer($0) } ?? .null }

    /// 987 → `0.987`.
    private static func perMille(_ value: Int64) -> String {
        let digits = String(min(max(value, 0), 1_000) % 1_000)
        return value >= 1_000 ? "1.0" : "0." + String(repeating: "0", count: 3 - digits.count) + digits
    }
}
