internal import MeshCrypto
package import MeshModel
package import MeshRuntime

/// Everything a node is told before it starts. Made by `load`, which names every problem at once.
/// Keys, defaults and meanings: Docs/Reference/configuration.md.
package struct NodeConfiguration: Sendable, Equatable {
    /// Absolute path of the directory with keys, database and admin socket.
    package var dataDirectory: String
    package var nodeName: String
    package var api: API
    package var link: Link
    package var mesh: Mesh
    package var workerGreetingGraceMs: Int64
    /// How long a buyer's request waits for somebody who has just left, or rests, when nobody else is left.
    package var holdMs: Int64
    package var firstContentMs: Int64
    package var streamIdleMs: Int64
    /// How long this node waits for an answer.
    var deadlines: AnswerDeadlines { AnswerDeadlines(firstContentMs: firstContentMs, idleMs: streamIdleMs) }
    package var log: Log
    /// Addresses that belong to nobody, or to whoever is near, to which this node connects for upstreams all the same.
    package var upstreamRanges: [IPRange]

    package struct API: Sendable, Equatable {
        package var listen: SocketEndpoint
        /// Base URL told to buyers and workers, without a slash at its end.
        package var url: String
        /// PEM files; nil = plain HTTP.
        package var tls: TLSFiles?
        /// Origins whose pages may call the buyer API; `*` for all.
        package var origins: [String]
    }

    package struct TLSFiles: Sendable, Equatable {
        package var certificate: String
        package var key: String
    }

    package struct Link: Sendable, Equatable {
        package var listen: SocketEndpoint
        /// Addresses that stand in this node's descriptor; empty for a node that only dials out.
        package var advertise: [SocketEndpoint]
    }

    package struct Mesh: Sendable, Equatable {
        /// Text whose BLAKE2b-128 is the network id.
        package var network: String
        package var peers: [StaticPeer]
        /// Who is admitted besides the static peers.
        package var allow: [AdmittedKey]
        package var region: String
        /// With so many other nodes this one keeps links unasked; to whom a request has to go it makes one when it comes.
        package var degree: Int
        package var beaconIntervalMs: Int64
    }

    package struct Log: Sendable, Equatable {
        package var level: String
        package var format: LogFormat
        /// Which requests get a line.
        package var requests: Journal.Requests
    }

    package enum LogFormat: String, CaseIterable, Sendable {
        case text
        case json
    }

    /// Records of other networks are refused.
    package var networkID: NetworkID {
        NetworkID(Sodium.shared.hash16(Array(mesh.network.utf8), key: []))
    }

    package var adminSocketPath: String { "\(dataDirectory)/admin.sock" }
}

/// A host name or address with a port; `[::1]:80` is how an IPv6 address is written.
package struct SocketEndpoint: Sendable, Hashable, CustomStringConvertible {
    package var host: String
    package var port: Int

    package init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    /// Nil unless `text` is `host:port` with a port from 0 to 65535.
    package init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...])
        else { return nil }
        var host = String(text[..<colon])
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = String(host.dropFirst().dropLast())
        } else if host.contains(":") {
            return nil
        }
        guard !host.isEmpty, host.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != 0x2F && $0 != 0x40 })
        else { return nil }
        self.init(host: host, port: Int(port))
    }

    package var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

    /// Whether the address means every interface of the machine.
    package var isWildcard: Bool { host == "0.0.0.0" || host == "::" }
}

/// A peer that is dialled from the start and never evicted: `aisbf_node_…@host:port`.
package struct StaticPeer: Sendable, Hashable, CustomStringConvertible {
    package var node: PublicKey
    package var address: SocketEndpoint

    package init(node: PublicKey, address: SocketEndpoint) {
        self.node = node
        self.address = address
    }

    package var description: String { "\(KeyText.node.text(node.bytes))@\(address)" }
}

/// One line of the allow-list: a node, or all nodes that an operator certifies.
package enum AdmittedKey: Sendable, Hashable {
    case node(PublicKey)
    case operatorKey(PublicKey)
}
