package import AsyncHTTPClient

/// Makes the connections of one backend, or of any.
package protocol BackendConnections: Sendable {
    /// Sends a request. The connection is the answer's until `read` returns.
    /// - Parameters:
    ///   - isOnce: the request cannot be sent a second time.
    ///   - read: takes the answer, whose body is still to come.
    /// - Throws: why there is no answer.
    func answer<Value: Sendable>(
        to request: HTTPClientRequest, isOnce: Bool, _ read: (HTTPClientResponse) async -> Value
    ) async throws -> Value
}
