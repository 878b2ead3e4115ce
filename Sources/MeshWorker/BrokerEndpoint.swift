import Foundation

/// Where a worker dials: base URL plus the scope's path. No secret and no query is ever part of it.
package struct BrokerEndpoint: Hashable, Sendable {
    package var isTLS: Bool
    package var host: String
    package var port: Int
    package var path: String

    /// - Parameter username: nil for scope `global`.
    package init?(baseURL: String, username: String?) {
        guard let url = URL(string: baseURL), let scheme = url.scheme?.lowercased(), url.query() == nil,
            let host = url.host(percentEncoded: false), !host.isEmpty, url.user() == nil, url.fragment() == nil
        else { return nil }
        switch scheme {
        case "http", "ws": isTLS = false
        case "https", "wss": isTLS = true
        default: return nil
        }
        self.host = host.hasPrefix("[") ? String(host.dropFirst().dropLast()) : host
        port = url.port ?? (isTLS ? 443 : 80)
        guard (1...65_535).contains(port) else { return nil }
        var prefix = url.path(percentEncoded: true)
        while prefix.hasSuffix("/") { prefix.removeLast() }
        path = prefix + (username.map { "/api/u/\($0)/coderai/wss" } ?? "/api/coderai/wss")
    }

    /// The Host header.
    var authority: String {
        let name = host.contains(":") ? "[\(host)]" : host
        return port == (isTLS ? 443 : 80) ? name : "\(name):\(port)"
    }

    /// For people: `wss://node.example/api/coderai/wss`.
    package var description: String { "\(isTLS ? "wss" : "ws")://\(authority)\(path)" }
}
