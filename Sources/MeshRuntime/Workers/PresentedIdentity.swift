import MeshCrypto
import MeshExchange
import MeshModel
import MeshSessions
import MeshTransport
import MeshWire
import NIOHTTP1

/// Where a worker dials: `…/api/coderai/wss` or `…/api/u/{username}/coderai/wss`, below any prefix of a proxy.
struct WorkerPath: Hashable, Sendable {
    var scope: OwnerScope
    var query: [(name: String, value: String)]

    static func == (left: Self, right: Self) -> Bool { left.scope == right.scope }
    func hash(into hasher: inout Hasher) { hasher.combine(scope) }

    init?(uri: String) {
        let parts = RequestTarget.originForm(uri).split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        let segments = parts[0].split(separator: "/").map(String.init)
        guard segments.suffix(2) == ["coderai", "wss"] else { return nil }
        let front = segments.dropLast(2)
        // The user's form first: `api` is a name like any other.
        if front.count >= 3, front.dropLast().last == "u", front.dropLast(2).last == "api", let name = front.last {
            guard let username = PercentEncoding.decode(name), NameRule.isValid(username) else { return nil }
            scope = OwnerScope(username: username)
        } else if front.last == "api" {
            scope = .global
        } else {
            return nil
        }
        query = parts.count == 2 ? PercentEncoding.query(String(parts[1])) : []
    }
}

/// What a worker says of itself at the handshake: query first, then headers, then, for the token, `Authorization`.
struct PresentedIdentity: Sendable {
    var providerID: String
    var clientID: String
    var username: String
    var token: String

    init(path: WorkerPath, headers: HTTPHeaders) {
        func value(_ name: String) -> String? {
            if let item = path.query.first(where: { $0.name == name && !$0.value.isEmpty }) { return item.value }
            let header = "x-coderai-" + name.replacingUnderscores
            return headers.first(name: header).flatMap { $0.isEmpty ? nil : $0 }
        }
        providerID = value("provider_id") ?? "coderai"
        clientID =
            value("client_id").flatMap { text in
                WorkerIdentity.clientID(presented: text) { hexText(Array(Sodium.shared.hash16($0, key: []).bytes)) }
            } ?? "anon-\(SystemClock.wall.seconds)"
        username = value("username") ?? path.scope.username
        let bearer = headers.first(name: "authorization").flatMap { text -> String? in
            text.lowercased().hasPrefix("bearer ") ? String(text.dropFirst(7)) : nil
        }
        token = value("registration_token") ?? bearer ?? ""
    }
}

extension String {
    var replacingUnderscores: String { String(map { $0 == "_" ? "-" : $0 }) }
}
