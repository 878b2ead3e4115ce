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
            "capabilities": [
                "max_frame_bytes": .integer(details.profile.maxFrameBytes),
                "flow_control": .boolean(details.profile.controlsFlow),
                "binary_frames": .boolean(details.profile.sendsBinary),
            ],
            "hardware": hardware(details.profile.hardware), "performance": performance(details.performance),
        ]
    }

    private static func hardware(_ hardware: HardwareSummary) -> JSONValue {
        [
            "hostname": .string(hardware.hostname), "platform": .string(hardware.platform),
            "gpu_count": .integer(hardware.gpus.count), "total_vram_mb": sum(hardware.gpus.map(\.totalMb)),
            "available_vram_mb": sum(hardware.gpus.map(\.availableMb)),
            "used_vram_mb": sum(hardware.gpus.map(\.usedMb)),
            "gpus": .array(
                hardware.gpus.map { gpu in
                    [
                        "index": .integer(gpu.index), "name": .string(gpu.name), "vendor": .string(gpu.vendor),
                        "total_vram_mb": number(gpu.totalMb), "available_vram_mb": number(gpu.availableMb),
                        "used_vram_mb": number(gpu.usedMb),
                    ]
                }),
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

    /// Null where no GPU tells. Each is plausible, and there are at most 64.
    private static func sum(_ values: [Int64?]) -> JSONValue {
        let known = values.compactMap { $0 }
        return known.isEmpty ? .null : .integer(known.reduce(0, +))
    }

    private static func number(_ value: Int64?) -> JSONValue { value.map { .integer($0) } ?? .null }

    /// 987 → `0.987`.
    private static func perMille(_ value: Int64) -> String {
        let digits = String(min(max(value, 0), 1_000) % 1_000)
        return value >= 1_000 ? "1.0" : "0." + String(repeating: "0", count: 3 - digits.count) + digits
    }
}
