import MeshModel

/// A rotation with the rotations in it, drawn out: groups whose nodes are members or other groups. A rotation in a
/// rotation takes its own part and shares it out among its members, so the shares along a path multiply.
///
/// It always ends, whatever the rotations say by now: what stands inside itself or too deep is a leaf that takes no
/// request.
package struct PoolTree: Hashable, Sendable {
    package struct Leaf: Hashable, Sendable {
        /// As its owner wrote it.
        package var text: String
        /// The provider's name in the pool's scope; empty for what is none.
        package var provider: String
        /// Nil: the first of its models that takes the request.
        package var model: String?
        /// Why it never takes a request: it goes round in a circle, or nobody gives it any.
        package var never: Exclusion?
        /// Tells it from others, also in another version of the pool.
        var identity: UInt64
    }

    struct Node: Hashable, Sendable {
        enum Content: Hashable, Sendable {
            case leaf(Int)
            case group(Int)
        }

        var content: Content
        /// 0 when it is switched off.
        var weight: Int64
        var tier: Int
        var identity: UInt64
    }

    /// Its nodes stand together, those of lower tiers first. Groups stand behind those they are in.
    struct Group: Hashable, Sendable {
        var nodes: Range<Int>
    }

    package private(set) var leaves: [Leaf] = []
    private(set) var nodes: [Node] = []
    private(set) var groups: [Group] = []

    private struct Pending {
        var rotation: Rotation
        /// The rotations it stands in and itself.
        var path: [String]
        var isOn: Bool
    }

    /// - Parameter others: the pools that a name means in its scope.
    package init(_ rotation: Rotation, others: (String) -> Rotation?) {
        var pending = [Pending(rotation: rotation, path: [rotation.name], isOn: true)]
        var next = 0
        while next < pending.count {
            let (group, start) = (pending[next], nodes.count)
            next += 1
            let members = group.rotation.members.enumerated().sorted {
                ($0.element.tier, $0.offset) < ($1.element.tier, $1.offset)
            }
            for (_, member) in members where leaves.count <= Limits.poolMembers && nodes.count < Limits.poolNodes {
                add(member, of: group, &pending, others)
            }
            groups.append(Group(nodes: start..<nodes.count))
        }
    }

    private mutating func add(
        _ member: Rotation.Member, of group: Pending, _ pending: inout [Pending], _ others: (String) -> Rotation?
    ) {
        let isOn = group.isOn && member.isEnabled && member.weight > 0
        let content: Node.Content
        let identity: UInt64
        switch member.target {
        case .provider(let name, let model):
            let leaf = leaf(member.target.text, name, model ?? group.rotation.model, never: isOn ? nil : .disabled)
            (content, identity) = (.leaf(leaf), leaves[leaf].identity)
        case .rotation(let name):
            identity = Self.identity(["rotation", name])
            if !group.path.contains(name), group.path.count < Limits.poolDepth, let inner = others(name) {
                content = .group(pending.count)
                pending.append(Pending(rotation: inner, path: group.path + [name], isOn: isOn))
            } else {
                // A rotation that is gone is to be told from none as little as a provider.
                let isLoop = group.path.contains(name) || group.path.count >= Limits.poolDepth
                content = .leaf(leaf(member.target.text, "", nil, never: isLoop ? .loop : .unauthorised))
            }
        }
        nodes.append(
            Node(
                content: content, weight: member.isEnabled ? Int64(min(max(member.weight, 0), Limits.poolWeight)) : 0,
                tier: member.tier, identity: identity))
    }

    /// The leaf of that name; two ways to it are one.
    private mutating func leaf(_ text: String, _ provider: String, _ model: String?, never: Exclusion?) -> Int {
        if let known = leaves.firstIndex(where: {
            $0.provider == provider && $0.model == model && (!provider.isEmpty || $0.text == text)
        }) {
            if never == nil { leaves[known].never = nil }
            return known
        }
        let identity = Self.identity(provider.isEmpty ? [text] : [provider, model ?? ""])
        leaves.append(Leaf(text: text, provider: provider, model: model, never: never, identity: identity))
        return leaves.count - 1
    }

    /// FNV-1a, 64 bits: the same on every node and in every run.
    private static func identity(_ parts: [String]) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for part in parts {
            for byte in part.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
            hash = (hash ^ 0xFF) &* 0x100_0000_01B3
        }
        return hash
    }
}
