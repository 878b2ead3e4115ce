package import MeshModel

/// A name of which a node keeps what it first meant.
package enum MeshName: Hashable, Sendable {
    /// A node's name: a node key.
    case node(String)
    /// A username at a node: an owner key.
    case owner(String, at: PublicKey)
    /// The short name of a provider for its owner: a provider's key by owner and id, whatever its access, as the next two.
    case own(String, owner: PublicKey)
    /// The short name of a provider of this node's operator.
    case global(String)
    /// The short name of a provider for everybody else.
    case provider(String)
    /// The short name of a provider that is not for everybody, for one who may use it.
    case shown(String, to: PublicKey)
    /// A model id with a slash in it, which could be read as `provider/model`: itself.
    case model(String)
    /// The same, for one who may use a provider that has the model and is not for everybody.
    case shownModel(String, to: PublicKey)

    /// `node:b`, `owner:seller@aisbf_node_…`, `own:lab@aisbf_owner_…`, `global:lab`, `provider:lab`, `model:org/name`,
    /// `shown:lab@aisbf_owner_…`, `shown-model:org/name@aisbf_owner_…`: how the operator and the store write it.
    package var text: String {
        switch self {
        case .node(let name): "node:\(name)"
        case .owner(let name, let node): "owner:\(name)@\(KeyText.node.text(node.bytes))"
        case .own(let name, let owner): "own:\(name)@\(KeyText.owner.text(owner.bytes))"
        case .global(let name): "global:\(name)"
        case .provider(let name): "provider:\(name)"
        case .shown(let name, let reader): "shown:\(name)@\(KeyText.owner.text(reader.bytes))"
        case .model(let name): "model:\(name)"
        case .shownModel(let name, let reader): "shown-model:\(name)@\(KeyText.owner.text(reader.bytes))"
        }
    }

    package init?(_ text: String) {
        // Byte by byte: what stands behind the colon may be a mark that belongs to the character before it.
        guard let colon = text.utf8.firstIndex(of: UInt8(ascii: ":")) else { return nil }
        let name = String(text[text.utf8.index(after: colon)...])
        switch text[..<colon] {
        case "node": self = .node(name)
        case "global": self = .global(name)
        case "provider": self = .provider(name)
        case "model": self = .model(name)
        case "owner":
            guard let (name, key) = Self.keyed(name, .node) else { return nil }
            self = .owner(name, at: key)
        case "own":
            guard let (name, key) = Self.keyed(name, .owner) else { return nil }
            self = .own(name, owner: key)
        case "shown":
            guard let (name, key) = Self.keyed(name, .owner) else { return nil }
            self = .shown(name, to: key)
        case "shown-model":
            guard let (name, key) = Self.keyed(name, .owner) else { return nil }
            self = .shownModel(name, to: key)
        default: return nil
        }
    }

    private static func keyed(_ text: String, _ kind: KeyText) -> (String, PublicKey)? {
        guard let at = text.utf8.lastIndex(of: UInt8(ascii: "@")),
            case .success(let bytes) = kind.parse(String(text[text.utf8.index(after: at)...])),
            let key = PublicKey(bytes)
        else { return nil }
        return (String(text[..<at]), key)
    }

    var isModel: Bool {
        switch self {
        case .model, .shownModel: true
        case .node, .owner, .own, .global, .provider, .shown: false
        }
    }

    /// Whether it is one caller's name of a provider that is not for everybody.
    var isShown: Bool { if case .shown = self { true } else { false } }

    /// Whether it is how strangers' models are called, of whose names a store may hold anything.
    package static func isOfModel(_ text: String) -> Bool {
        text.hasPrefix("model:") || text.hasPrefix("shown-model:")
    }

    /// Whether two holders of the name are two parties, of which one could be taken for the other mesh-wide.
    package var isFull: Bool {
        switch self {
        case .node, .owner: true
        case .own, .global, .provider, .shown, .model, .shownModel: false
        }
    }

    /// Whether it can be written down and read again as what it is.
    var isPlain: Bool { text.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F } }

    /// A holder as it is written: `aisbf_node_…`, `aisbf_owner_…`, or `key:…` of a provider.
    package func text(of holder: [UInt8]) -> String {
        switch self {
        case .node: KeyText.node.text(holder)
        case .owner: KeyText.owner.text(holder)
        case .own, .global, .provider, .shown: ProviderKeyName.prefix + hexText(holder)
        case .model, .shownModel: "the model"
        }
    }

    /// The other way round; nil for what cannot hold such a name.
    package func holder(_ text: String) -> [UInt8]? {
        switch self {
        case .node: try? KeyText.node.parse(text).get()
        case .owner: try? KeyText.owner.parse(text).get()
        case .own, .global, .provider, .shown: ProviderKeyName.key(text)?.bytes
        case .model, .shownModel: nil
        }
    }
}

/// `key:` and a provider's record key, which is made of its owner's key and its id: means one provider, whoever calls
/// what how. No provider's id and no user's name can look like it.
package enum ProviderKeyName {
    static let prefix = "key:"

    package static func text(_ key: RecordKey) -> String { prefix + key.description }

    package static func key(_ text: some StringProtocol) -> RecordKey? {
        guard text.hasPrefix(prefix) else { return nil }
        return bytesOfHex(String(text.dropFirst(prefix.count))).flatMap { RecordKey($0) }
    }
}

/// What a name means at this node, and since when.
package struct NamePin: Hashable, Sendable {
    package var name: MeshName
    /// Nil when several came at once: it means nobody until the operator decides.
    package var holder: [UInt8]?
    /// Which name was learnt first.
    package var order: UInt64
    /// The node that brought it.
    package var home: PublicKey
    package var learnt: Timestamp
    /// When it was last seen in the mesh, to the week.
    package var seen: Timestamp
    /// A buyer has used it here.
    package var isUsed: Bool
    /// A name of this node's own.
    package var isOwn: Bool

    package init(
        name: MeshName, holder: [UInt8]?, order: UInt64, home: PublicKey, learnt: Timestamp, seen: Timestamp,
        isUsed: Bool, isOwn: Bool
    ) {
        self.name = name
        self.holder = holder
        self.order = order
        self.home = home
        self.learnt = learnt
        self.seen = seen
        self.isUsed = isUsed
        self.isOwn = isOwn
    }
}

/// What has to be stored before it counts.
package enum NameChange: Hashable, Sendable {
    case save(NamePin)
    case remove(MeshName)

    package var name: MeshName {
        switch self {
        case .save(let pin): pin.name
        case .remove(let name): name
        }
    }
}

/// Somebody claims a name that means somebody else here.
package struct NameConflict: Hashable, Sendable {
    package var name: MeshName
    /// Nil: several came at once.
    package var holder: [UInt8]?
    package var claimant: [UInt8]
    /// The node that brings the claim.
    package var home: PublicKey
}

/// What a buyer wrote as `model`, and led somewhere.
package struct UsedName: Hashable, Sendable {
    package var text: String
    package var owner: PublicKey

    package init(_ text: String, by owner: PublicKey) {
        self.text = text
        self.owner = owner
    }
}
