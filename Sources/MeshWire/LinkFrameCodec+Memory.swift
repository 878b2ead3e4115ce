extension Aisbf_Mesh_V1_LinkFrame {
    /// About how much memory the frame takes while it waits. Small entries cost many times their bytes on the wire, so
    /// each is charged for what holds it.
    package var heldBytes: Int {
        guard let kind else { return Self.frameCost }
        return Self.frameCost + Self.content(kind)
    }

    private static let frameCost = 256
    /// A list's entry of bytes, with the buffer it points to.
    private static let entryCost = 96
    private static let summaryCost = 160
    private static let rangeCost = 256

    private static func content(_ kind: OneOf_Kind) -> Int {
        switch kind {
        case .hello(let hello): hello.network.count + hello.nodeKey.count + hello.nonce.count + hello.descriptor.count
        case .helloProof(let proof): proof.signature.count
        case .push(let push): push.records.reduce(0) { $0 + $1.count + entryCost }
        case .announce(let announce): summaries(announce)
        case .want(let want): want.keys.reduce(0) { $0 + $1.count + entryCost }
        case .syncOpen(let open): open.salt.count
        case .syncRanges(let sync):
            sync.ranges.reduce(sync.salt.count) {
                $0 + rangeCost + $1.from.count + $1.to.count + $1.fingerprint.count + summaries($1.list)
            }
        case .syncNeed(let need): need.keys.reduce(0) { $0 + $1.count + entryCost }
        case .syncRecords(let sync): sync.records.reduce(0) { $0 + $1.count + entryCost }
        case .peers(let peers): peers.descriptors.reduce(0) { $0 + $1.count + entryCost }
        case .drain: 0
        case .goodbye(let goodbye): goodbye.code.utf8.count
        }
    }

    private static func summaries(_ announce: Aisbf_Mesh_V1_Announce) -> Int {
        announce.records.reduce(0) { $0 + summaryCost + $1.key.count + $1.hashPrefix.count }
    }
}
