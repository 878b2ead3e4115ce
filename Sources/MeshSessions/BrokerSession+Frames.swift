package import MeshModel
package import MeshWire

/// The frames a node sends to a worker.
extension BrokerSession {
    /// The frame that asks the worker to do `operation`; `payload` is spliced in as it is and must be one JSON value.
    package func requestFrame(number: UInt64, operation: String, payload: some Collection<UInt8>) -> [UInt8] {
        var frame = requestHead(number: number, operation: operation)
        frame.reserveCapacity(frame.count + payload.count + 1)
        frame += payload
        frame.append(UInt8(ascii: "}"))
        return frame
    }

    /// Everything of a request frame before its payload, and how many bytes the worker takes in one frame; a closing brace
    /// follows the payload. Whoever sends it says so with `requestSent`. Nil while the worker takes no requests.
    ///
    /// Changes nothing, and says that it might: who holds this machine in an object would copy all of it to be told.
    package mutating func opening(number: UInt64, operation: String) -> (head: [UInt8], frameBytes: Int)? {
        isLive ? (requestHead(number: number, operation: operation), profile.maxFrameBytes) : nil
    }

    private func requestHead(number: UInt64, operation: String) -> [UInt8] {
        var frame: [UInt8] = []
        frame.reserveCapacity(64 + identityFields.count)
        frame.append(contentsOf: #"{"v":1,"op":""#.utf8)
        frame.append(contentsOf: operation.utf8)
        frame.append(contentsOf: #"","request_id":"q"#.utf8)
        frame.append(contentsOf: String(number).utf8)
        frame.append(contentsOf: identityFields)
        return frame
    }

    /// The part of a request that is the same in every frame, made once.
    static func identityFields(_ identity: WorkerIdentity) -> [UInt8] {
        var bytes = Array(#"","provider_id":"#.utf8)
        JSONText.appendQuoted(identity.providerID.utf8, to: &bytes)
        bytes += Array(#","client_id":"#.utf8)
        JSONText.appendQuoted(identity.clientID.utf8, to: &bytes)
        bytes += Array(#","payload":"#.utf8)
        return bytes
    }

    /// Frames that steer one request: `cancel`, `pause`, `resume`. To be sent.
    package mutating func controlFrame(_ operation: String, number: UInt64) -> [UInt8] {
        hasSentSinceTick = true
        return requestFrame(
            number: UInt64.max - number, operation: operation, payload: Array(#"{"request_id":"q\#(number)"}"#.utf8))
    }

    /// Gives the worker room for `bytes` more of a binary answer. To be sent.
    package mutating func creditFrame(number: UInt64, bytes: Int) -> [UInt8] {
        hasSentSinceTick = true
        return requestFrame(
            number: UInt64.max - number, operation: "credit",
            payload: Array(#"{"request_id":"q\#(number)","bytes":\#(bytes)}"#.utf8))
    }

    /// Numbered from the top down, below what steers requests: any answer to it will do.
    func heartbeatFrame(beat: UInt64) -> [UInt8] {
        requestFrame(number: UInt64.max - beat, operation: "heartbeat", payload: Array("{}".utf8))
    }

    func question(_ question: WorkerQuestion) -> [UInt8] {
        requestFrame(number: question.latest, operation: question.operation, payload: Array("{}".utf8))
    }

    /// Our request number in a `request_id`, nil when it is none of ours.
    package static func requestNumber(_ requestID: String) -> UInt64? {
        guard requestID.utf8.first == UInt8(ascii: "q") else { return nil }
        return UInt64(requestID.dropFirst())
    }

    /// The `registered` document, also the answer of the dry-run register routes.
    package func registeredDocument(requestID: String, wall: Timestamp) -> JSONValue {
        [
            "v": 1, "event": "registered", "status": "ok", "accepted": true, "request_id": echo(requestID),
            "session_id": .string(sessionID), "provider_id": .string(identity.providerID),
            "client_id": .string(identity.clientID), "username": .string(identity.scope.username),
            "scope_name": .string(identity.scope == .global ? "global" : "user"),
            "owner_user_id": identity.scope == .global ? .null : .string(identity.scope.username),
            "expires_at": .integer(wall.advanced(byMilliseconds: Limits.workerRegistrationMs).seconds),
            // Ours; released clients look at none of it.
            "features": ["binary_frames", "flow_control"], "answer_window_bytes": .integer(Limits.answerWindowBytes),
        ]
    }

    /// The worker's own request id comes back to it, but not as long as it likes.
    private func echo(_ requestID: String) -> JSONValue {
        .string(requestID.cut(toUTF8Bytes: Limits.workerRequestIDBytes))
    }

    func heartbeatAnswer(_ requestID: String, wall: Timestamp) -> [UInt8] {
        let answer: JSONValue = [
            "v": 1, "request_id": echo(requestID), "status": "ok", "event": "heartbeat",
            "payload": ["ts": .integer(wall.seconds)],
        ]
        return answer.bytes
    }

    func errorFrame(_ requestID: String, _ text: String) -> [UInt8] {
        let answer: JSONValue = [
            "v": 1, "request_id": echo(requestID), "status": "error", "error": .string(text),
        ]
        return answer.bytes
    }
}
