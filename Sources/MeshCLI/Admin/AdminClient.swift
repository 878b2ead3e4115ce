internal import Foundation

/// The admin API of one node, through its Unix socket or over TCP with an admin key.
package struct AdminClient: Sendable {
    package enum Target: Sendable, Equatable {
        case socket(String)
        case url(String, key: String?)
    }

    package static let basePath = "/api/admin/v1/"
    private let target: Target

    private let caFile: String?

    /// - Parameter caFile: the authorities to trust with `https`, in place of the system's.
    package init(_ target: Target, caFile: String? = nil) {
        self.target = target
        self.caFile = caFile
    }

    /// The JSON answer, `.null` for an empty one. A refusal is a `CommandFailure` with the node's own words.
    package func send(
        _ method: String, _ path: String, body: JSONValue? = nil, seconds: Int64 = 15
    ) async throws -> JSONValue {
        let answer = try await exchange(method, path, body: body, seconds: seconds)
        let json = answer.json
        guard (200..<300).contains(answer.status) else {
            let message = json?["error"]?["message"]?.text ?? "the node answered with status \(answer.status)"
            throw CommandFailure(Table.printable(message))
        }
        guard answer.body.isEmpty || json != nil else {
            throw CommandFailure("the node's answer is not JSON; is something else listening there?")
        }
        return json ?? .null
    }

    package func get(_ path: String) async throws -> JSONValue { try await send("GET", path) }

    /// As `send`, nil for 409: the thing is already there.
    package func create(_ path: String, _ body: JSONValue) async throws -> JSONValue? {
        let answer = try await exchange("POST", path, body: body, seconds: 15)
        if answer.status == 409 { return nil }
        guard (200..<300).contains(answer.status), let json = answer.json else {
            let message = answer.json?["error"]?["message"]?.text ?? "the node answered with status \(answer.status)"
            throw CommandFailure(Table.printable(message))
        }
        return json
    }

    private func exchange(
        _ method: String, _ path: String, body: JSONValue?, seconds: Int64
    ) async throws -> HTTPExchange.Answer {
        let full = Self.basePath + path
        var exchange: HTTPExchange
        switch target {
        case .socket(let socket):
            if let failure = Unreachable.socketFailure(socket) { throw failure }
            guard let url = HTTPExchange.socketURL(socket, path: full) else {
                throw CommandFailure(
                    "the path of the admin socket is longer than 107 bytes; use a shorter data directory")
            }
            exchange = HTTPExchange(url: url)
        case .url(let url, let key):
            exchange = HTTPExchange(url: url + full, bearer: key)
            exchange.caFile = caFile
        }
        exchange.method = method
        exchange.body = body
        exchange.seconds = seconds
        do {
            return try await exchange.run()
        } catch let error as CommandFailure {
            throw error
        } catch {
            throw Unreachable.failure(target, error)
        }
    }

    /// `name` as one segment of a path.
    package static func segment(_ name: String) -> String {
        var allowed = CharacterSet.alphanumerics
        allowed.insert(charactersIn: "-._~")
        return name.addingPercentEncoding(withAllowedCharacters: allowed) ?? "invalid"
    }
}
