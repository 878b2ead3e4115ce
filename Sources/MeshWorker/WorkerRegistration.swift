import Foundation
import MeshModel
import MeshWire

/// What the worker says about itself.
struct WorkerRegistration: Sendable {
    let hardware: HardwareInventory
    /// What the backend serves beside chat.
    let endpoints: [String]

    /// The answer to `capabilities`, and a part of `register`.
    var capabilities: JSONValue {
        [
            "server": ["name": "aisbf-worker", "version": "0.1.0"], "transports": ["websocket"], "tunnel_only": true,
            "max_frame_bytes": .integer(Limits.workerFrameBytes),
            "openai_compat": [
                "chat_completions": true, "models": true, "responses": .boolean(offers("responses")),
                "embeddings": .boolean(offers("embeddings")), "images": .boolean(offers("images")),
                "audio": .boolean(offers("audio")),
            ],
            "operations": [
                "models.list", "chat.completions", "capabilities", "proxy", "heartbeat", "cancel", "pause", "resume",
                "credit", "upload_end",
            ],
            "flow_control": true, "binary_frames": true, "uploads": true, "ranges": true,
            "studio": [
                "enabled": .boolean(!endpoints.isEmpty), "supported": .boolean(!endpoints.isEmpty),
                "endpoints": .strings(endpoints),
            ],
        ]
    }

    private func offers(_ family: String) -> Bool { endpoints.contains { $0.hasPrefix("v1/\(family)") } }

    /// The token stays in the handshake's headers; the frame carries no secret.
    /// - Parameter number: from 1; a worker registers again when what it offers has changed.
    func register(_ number: Int, hardware: JSONValue) -> [UInt8] {
        var payload: [JSONValue.Member] = [
            .init("transport", "websocket"), .init("hardware", hardware),
            .init("studio_endpoints", .strings(endpoints)),
            .init("capabilities", capabilities),
        ]
        for name in ["gpus", "gpu_count", "total_vram_mb", "available_vram_mb"] {
            if let value = hardware[name] { payload.append(.init(name, value)) }
        }
        return JSONValue.object([
            .init("v", 1), .init("op", "register"), .init("request_id", .string("register-\(number)")),
            .init("payload", .object(payload)),
        ]).bytes
    }

    func heartbeat(number: Int, uptimeMs: Int64) async -> [UInt8] {
        let document: JSONValue = [
            "v": 1, "op": "heartbeat", "request_id": .string("heartbeat-\(number)"),
            "payload": ["uptime": .integer(uptimeMs / 1000), "hardware": await hardware.read()],
        ]
        return document.bytes
    }

    static func unixSeconds() -> Int64 { Int64(Date().timeIntervalSince1970) }
}
