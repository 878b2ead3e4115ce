import Foundation
package import MeshModel

/// Where an OpenAI-compatible server is: scheme, host, port, and what stands in front of its routes, such as `/v1`.
package struct BackendAddress: Hashable, Sendable, CustomStringConvertible {
    /// Why a text is no such address, in words.
    package struct Problem: Error, Hashable, Sendable {
        package var words: String
    }

    /// Without a slash at its end.
    package let description: String
    /// A name, or an address without brackets.
    package let host: String

    /// - Throws: what is wrong, without a word of what might be a secret.
    package init(_ text: String) throws(Problem) {
        var base = text
        while base.hasSuffix("/") { base.removeLast() }
        guard base.utf8.count <= Limits.upstreamURLBytes else {
            throw Problem(words: "is longer than \(Limits.upstreamURLBytes) bytes")
        }
        guard base.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != 0x5C }), let url = URL(string: base) else {
            throw Problem(words: "is no URL; for Ollama it is http://127.0.0.1:11434/v1")
        }
        guard ["http", "https"].contains(url.scheme?.lowercased()) else {
            throw Problem(words: "must begin with http:// or https://")
        }
        guard url.user == nil, url.password == nil, !base.contains("@") else {
            throw Problem(words: "must not hold a user name or a password; a key is given apart from it")
        }
        guard let host = url.host(percentEncoded: false), !host.isEmpty else { throw Problem(words: "has no host") }
        guard (1...65_535).contains(url.port ?? 80) else { throw Problem(words: "has a port that is none") }
        guard url.query == nil, url.fragment == nil else {
            throw Problem(words: "must not have a query or a fragment; it ends where /chat/completions begins")
        }
        let segments = url.path(percentEncoded: true).split(separator: "/", omittingEmptySubsequences: false)
            .dropFirst()
        guard !segments.contains(where: { $0.isEmpty || $0 == "." || $0 == ".." || $0.contains("%") }) else {
            throw Problem(words: "has a path with empty, dotted or escaped segments")
        }
        description = base
        self.host = host.hasPrefix("[") ? String(host.dropFirst().dropLast()) : host
    }

    /// Why a host that is written as an address is none for this node. Where a name leads shows when it is used.
    package func problem(by rule: AddressRule) -> Problem? {
        guard let kind = IPAddress(host).flatMap(rule.refusal) else { return nil }
        return Problem(
            words: """
                leads to \(kind.rawValue); if this node is to connect there, name \(host) in \
                upstream.allow_private_addresses of its configuration
                """)
    }
}

/// A key as an `authorization` header can carry it.
package enum BackendKey {
    /// What is wrong with a text that should be one; nil when nothing is. The text itself is never repeated.
    package static func problem(_ text: String) -> String? {
        if text.isEmpty { return "is empty" }
        if text.utf8.count > Limits.upstreamKeyBytes { return "is longer than \(Limits.upstreamKeyBytes) bytes" }
        guard text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            return "holds spaces, line breaks or characters that are not ASCII"
        }
        return nil
    }
}
