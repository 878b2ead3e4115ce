package import MeshRouting
package import MeshWire

/// One mesh on paper: its nodes, who sells and who buys where. Read from `Topology/*.yaml` by `Topology.parse`, which
/// returns only whole ones: every name is valid and unique, every reference leads somewhere, every node can be found.
/// `aisbf local up` starts it with real processes; `mesh-sim run` simulates it; tests name it. It holds no secrets.
package struct Topology: Sendable, Equatable {
    package var name: String
    package var description: String
    /// The policy text whose hash separates this mesh from others.
    package var network: String
    package var beaconIntervalMs: Int64
    package var nodes: [Node]
    package var users: [User]
    package var providers: [Provider]
    package var workers: [Worker]
    package var buyers: [Buyer]
    package var markets: [Market]

    package struct Node: Sendable, Equatable {
        package var name: String
        package var region: String
        /// Names of the nodes it dials from the start.
        package var peers: [String]
    }

    /// A seller's account: where its owner key lives.
    package struct User: Sendable, Equatable {
        package var name: String
        package var home: String
    }

    package struct Provider: Sendable, Equatable {
        package var id: String
        /// A user's name, or `global` for the operator of `home`.
        package var owner: String
        package var home: String
        package var access: Access
        /// Owners admitted when `access` is `named`: `user@node`.
        package var named: [AccountName]
        package var maxConcurrency: Int?
        /// Its home node asks this itself (a provider of kind `openai`); nil: its workers answer.
        package var backend: Backend?

        /// `owner/id`, unique within its home node.
        package var key: String { "\(owner)/\(id)" }
        /// `owner/id@node`.
        package var fullName: String { "\(key)@\(home)" }
    }

    package enum Access: String, Sendable, CaseIterable {
        case `public`
        case owner
        case named
    }

    package struct AccountName: Sendable, Equatable {
        package var user: String
        package var node: String
    }

    package struct Worker: Sendable, Equatable {
        package var name: String
        /// Full name of what it serves: owner, home node and id.
        package var provider: ProviderName
        /// The node it attaches to, its provider's home or any other.
        package var attach: String
        package var backend: Backend
    }

    package struct ProviderName: Sendable, Equatable, CustomStringConvertible {
        package var owner: String
        package var home: String
        package var id: String

        /// `owner@node/id`.
        package var description: String { "\(owner)@\(home)/\(id)" }
    }

    /// What owners at some nodes set up for buyers.
    package struct Market: Sendable, Equatable {
        package var nodes: [String]
        /// What buyers write for its first rotation.
        package var firstRotation: String? { rotations.first.map { "rotation/\($0.name)" } }
        package var rotations: [Rotation]
        package var policies: [Policy]
        /// As `aisbf apply` takes it.
        package var document: JSONValue

        /// The document's JSON; nil where there is nothing to apply.
        package var json: [UInt8]? { (document.members ?? []).isEmpty ? nil : document.bytes }
    }

    package enum Backend: Sendable, Equatable {
        /// The built-in one: deterministic text, `tokensPerSecond` 0 = as fast as possible.
        case demo(models: [String], tokensPerSecond: Int)
        /// Any OpenAI-compatible base URL.
        case openAI(baseURL: String)
    }

    /// A user with an API key of the scope `inference` on its node.
    package struct Buyer: Sendable, Equatable {
        package var name: String
        package var node: String
    }

    package func provider(_ name: ProviderName) -> Provider? {
        providers.first { $0.owner == name.owner && $0.home == name.home && $0.id == name.id }
    }
}

/// One thing that is wrong with a topology file: the path to it and what to do.
package struct TopologyProblem: Sendable, Equatable, CustomStringConvertible {
    package var path: String
    package var message: String

    package init(path: String, message: String) {
        self.path = path
        self.message = message
    }

    package var description: String { "\(path): \(message)" }
}

package struct TopologyProblems: Error, Sendable, Equatable, CustomStringConvertible {
    package var problems: [TopologyProblem]

    package var description: String {
        let count = problems.count == 1 ? "1 problem" : "\(problems.count) problems"
        return (["the topology has \(count):"] + problems.map { "  \($0)" }).joined(separator: "\n")
    }
}

/// What one topology file may hold.
package enum TopologyLimits {
    package static let fileBytes = 4 << 20
    package static let nodes = 10_000
    package static let entries = 100_000
}
