package import MeshModel
import MeshWire

/// A node as its current descriptor shows it.
package struct CatalogNode: Hashable, Sendable {
    package var key: PublicKey
    package var name: String
    package var operatorKey: PublicKey?
    package var apiURL: String
    package var linkAddresses: [String]
    /// Where its operator says that it stands; empty: not told.
    package var region: String

    package init(
        key: PublicKey, name: String, operatorKey: PublicKey?, apiURL: String, linkAddresses: [String],
        region: String = ""
    ) {
        self.key = key
        self.name = name
        self.operatorKey = operatorKey
        self.apiURL = apiURL
        self.linkAddresses = linkAddresses
        self.region = region
    }
}

/// One worker of a provider at the node that hosts it, as the attachment record shows it.
package struct CatalogHost: Hashable, Sendable {
    package var node: PublicKey
    package var nodeName: String
    package var attachment: RecordKey
    /// Names the worker among its provider's, wherever it is attached.
    package var clientHash: [UInt8]
    package var offer: WorkerOffer

    package init(
        node: PublicKey, nodeName: String, attachment: RecordKey, clientHash: [UInt8], offer: WorkerOffer
    ) {
        self.node = node
        self.nodeName = nodeName
        self.attachment = attachment
        self.clientHash = clientHash
        self.offer = offer
    }

    package func meets(_ need: WorkerNeed) -> Bool {
        offer.meets(need, mark: WorkerMark.text(clientHash: clientHash))
    }
}

/// A worker's measured speed, as an attachment told it.
package struct CatalogSpeed: Hashable, Sendable {
    package var clientHash: [UInt8]
    package var speed: WorkerSpeed

    package init(clientHash: [UInt8], speed: WorkerSpeed) {
        self.clientHash = clientHash
        self.speed = speed
    }
}

package enum CatalogAccess: Hashable, Sendable {
    case everyone
    case ownerOnly
    case named([PublicKey])

    package var name: String {
        switch self {
        case .everyone: "public"
        case .ownerOnly: "owner"
        case .named: "named"
        }
    }
}

/// A key that may attach workers, as the owner's advert lists it.
package struct CatalogAttachKey: Hashable, Sendable {
    package var key: PublicKey
    package var label: String
    /// Nil: until the advert changes.
    package var notAfter: Timestamp?
    /// Empty: any node.
    package var allowedHosts: [PublicKey]
    /// Nil for a way that this version does not know: such a token is of no use at this node.
    package var derivation: TokenDerivation?
    /// Whether its holder signed that it is for this provider. A grant needs no such word: the key itself signs it.
    package var isProven: Bool

    /// Whether the key is good at `host` now.
    package func admits(host: PublicKey, at wall: Timestamp) -> Bool {
        if let notAfter, notAfter <= wall { return false }
        return allowedHosts.isEmpty || allowedHosts.contains(host)
    }
}

package final class CatalogProvider: Hashable, Sendable {
    package let key: RecordKey
    package let advertHash: Bytes32
    package let owner: PublicKey
    package let providerID: String
    package let scope: OwnerScope
    package let homeNode: PublicKey
    package let homeName: String
    package let access: CatalogAccess
    package let attachKeys: [CatalogAttachKey]
    package let hosts: [CatalogHost]
    /// The hosts at other nodes: what every request looks through, while there may be hundreds here.
    package let remoteHosts: [CatalogHost]
    /// What was measured of its workers, here or elsewhere, the newest last; a worker that moves keeps it.
    package let speeds: [CatalogSpeed]
    /// Every model its workers offer, and before those the latest that they did offer: tells "no worker now" from "no
    /// such model".
    package let modelsSeen: [String]
    /// Requests its workers may have at once at one node, all together; nil: not bounded.
    package let maxConcurrency: Int?
    /// `ProviderKind`; empty in adverts of releases that told none.
    package let kind: String
    /// What its owner asks, and does with what it is sent: signed with the advert.
    package let prices: PriceList
    package let dataPolicy: DataPolicy
    /// Imported tokens are derived with it: the key of the provider's record if nothing in it were sealed.
    package let tokenSalt: RecordKey

    /// What stands before its models in a name that means it, mesh-wide and whoever asks: `seller@node/provider`, or its
    /// key where that name is somebody else's (`Catalog`). Stored, because every answer carries it.
    package let fullName: String

    /// - Parameters:
    ///   - remoteHosts: nil: all of `hosts`.
    ///   - tokenSalt: nil: `key`.
    ///   - fullName: nil: what it calls itself.
    package init(
        key: RecordKey, advertHash: Bytes32, owner: PublicKey, providerID: String, scope: OwnerScope,
        homeNode: PublicKey, homeName: String, access: CatalogAccess, attachKeys: [CatalogAttachKey],
        hosts: [CatalogHost] = [], remoteHosts: [CatalogHost]? = nil, speeds: [CatalogSpeed] = [],
        modelsSeen: [String] = [], maxConcurrency: Int? = nil, kind: String = "", prices: PriceList = PriceList(),
        dataPolicy: DataPolicy = .unknown, tokenSalt: RecordKey? = nil, fullName: String? = nil
    ) {
        self.key = key
        self.advertHash = advertHash
        self.owner = owner
        self.providerID = providerID
        self.scope = scope
        self.homeNode = homeNode
        self.homeName = homeName
        self.access = access
        self.attachKeys = attachKeys
        self.hosts = hosts
        self.remoteHosts = remoteHosts ?? hosts
        self.speeds = speeds
        self.modelsSeen = modelsSeen
        self.maxConcurrency = maxConcurrency
        self.kind = kind
        self.prices = prices
        self.dataPolicy = dataPolicy
        self.tokenSalt = tokenSalt ?? key
        self.fullName = fullName ?? "\(scope.username)@\(homeName)/\(providerID)"
    }

    /// The same under the name that leads to it here.
    fileprivate func named(by names: NameBook) -> CatalogProvider {
        let isMeant =
            names.node(named: homeName) == homeNode && names.owner(named: scope.username, at: homeNode) == owner
        if isMeant { return self }
        return CatalogProvider(
            key: key, advertHash: advertHash, owner: owner, providerID: providerID, scope: scope, homeNode: homeNode,
            homeName: homeName, access: access, attachKeys: attachKeys, hosts: hosts, remoteHosts: remoteHosts,
            speeds: speeds, modelsSeen: modelsSeen, maxConcurrency: maxConcurrency, kind: kind, prices: prices,
            dataPolicy: dataPolicy, tokenSalt: tokenSalt, fullName: ProviderKeyName.text(tokenSalt))
    }

    /// The same advert with what is known of its workers now.
    package func served(
        by hosts: [CatalogHost], remote: [CatalogHost], speeds: [CatalogSpeed] = [], modelsSeen: [String]
    ) -> CatalogProvider {
        CatalogProvider(
            key: key, advertHash: advertHash, owner: owner, providerID: providerID, scope: scope, homeNode: homeNode,
            homeName: homeName, access: access, attachKeys: attachKeys, hosts: hosts, remoteHosts: remote,
            speeds: speeds, modelsSeen: modelsSeen, maxConcurrency: maxConcurrency, kind: kind, prices: prices,
            dataPolicy: dataPolicy, tokenSalt: tokenSalt)
    }

    package static func == (left: CatalogProvider, right: CatalogProvider) -> Bool {
        if left === right { return true }
        // What the advert says is all in its hash, but for what was opened of it and proven by now.
        return left.key == right.key && left.advertHash == right.advertHash && left.fullName == right.fullName
            && left.access == right.access && left.attachKeys == right.attachKeys && left.hosts == right.hosts
            && left.remoteHosts == right.remoteHosts && left.speeds == right.speeds
            && left.modelsSeen == right.modelsSeen && left.maxConcurrency == right.maxConcurrency
            && left.kind == right.kind && left.prices == right.prices && left.dataPolicy == right.dataPolicy
            && left.tokenSalt == right.tokenSalt && left.owner == right.owner && left.scope == right.scope
            && left.homeNode == right.homeNode
    }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(key)
        hasher.combine(advertHash)
    }

    /// The keys of imported tokens with which workers may attach at `host` now.
    package func importedKeys(host: PublicKey, wall: Timestamp) -> [PublicKey] {
        attachKeys.filter { $0.derivation == .argon2id && admitsWorkers($0, at: host, wall: wall) }.map(\.key)
    }

    /// Whether a worker that presents the token of `key` is one of this provider's. At its home nobody has to prove
    /// what the home itself wrote into the advert.
    func admitsWorkers(_ key: CatalogAttachKey, at host: PublicKey, wall: Timestamp) -> Bool {
        key.admits(host: host, at: wall) && (key.isProven || homeNode == host)
    }

    package func offers(_ model: String) -> Bool { hosts.contains { $0.offer.models.contains(model) } }

    package func admits(_ principal: Principal) -> Bool {
        switch access {
        case .everyone: true
        case .ownerOnly: principal.owner == owner
        case .named(let keys):
            principal.owner == owner || keys.contains(principal.owner) || keys.contains(principal.node)
                || principal.nodeOperator.map(keys.contains) ?? false
        }
    }
}

/// What this node knows of providers and nodes at one moment: built by the control plane when something changed,
/// read by requests without waiting for anything. The dictionaries are for look-up only; what is listed comes
/// from the sorted arrays.
package final class Catalog: Sendable {
    package let node: PublicKey
    package let nodes: [CatalogNode]
    package let providers: [CatalogProvider]
    /// What names mean here, whoever is called what now.
    package let names: NameBook
    /// Of providers that this node is not to know.
    package let sealed: [SealedAdvert]
    /// What owners show to the whole mesh, by record key.
    package let publications: [Publication]
    /// How much there is in it: nodes, hosts and models. What building it anew costs.
    package let size: Int
    private let providersByID: [String: [Int]]
    private let providersByModel: [String: [Int]]
    private let providersByAttachKey: [PublicKey: [Int]]
    private let providersByKey: [RecordKey: Int]
    private let providersBySalt: [RecordKey: Int]
    private let sealedByAttachKey: [PublicKey: [Int]]
    private let nodesByKey: [PublicKey: Int]
    private let publicationsByID: [Publication.ID: Int]

    /// - Parameter names: nil for names that mean what they would to a node that sees all this for the first time.
    package init(
        node: PublicKey, nodes: [CatalogNode], providers: [CatalogProvider], sealed: [SealedAdvert] = [],
        publications: [Publication] = [], names: NameBook? = nil
    ) {
        self.publications = publications
        publicationsByID = Dictionary(
            publications.enumerated().map { ($0.element.id, $0.offset) }, uniquingKeysWith: { first, _ in first })
        self.sealed = sealed
        var sealedByKey: [PublicKey: [Int]] = [:]
        for (index, advert) in sealed.enumerated() {
            for key in advert.attachKeys { sealedByKey[key.key, default: []].append(index) }
        }
        sealedByAttachKey = sealedByKey
        self.node = node
        var fresh = NameBook(node: node)
        if names == nil { fresh.learn(nodes, providers, publications, wall: Timestamp(milliseconds: 0)) }
        let names = names ?? fresh
        self.names = names
        self.nodes = nodes.sorted { $0.key < $1.key }
        self.providers = providers.map { $0.named(by: names) }.sorted { $0.key < $1.key }
        var byID: [String: [Int]] = [:]
        var byModel: [String: [Int]] = [:]
        var byAttachKey: [PublicKey: [Int]] = [:]
        var byKey: [RecordKey: Int] = [:]
        var bySalt: [RecordKey: Int] = [:]
        for (index, provider) in self.providers.enumerated() {
            byID[provider.providerID, default: []].append(index)
            byKey[provider.key] = index
            // While it changes there may be two: the one that is not for everybody counts.
            if bySalt[provider.tokenSalt] == nil || provider.key != provider.tokenSalt {
                bySalt[provider.tokenSalt] = index
            }
            for key in provider.attachKeys { byAttachKey[key.key, default: []].append(index) }
            for model in provider.modelsSeen where byModel[model]?.last != index {
                byModel[model, default: []].append(index)
            }
        }
        size = self.nodes.count + self.providers.reduce(0) { $0 + 1 + $1.hosts.count + $1.modelsSeen.count }
        providersByID = byID
        providersByModel = byModel
        providersByAttachKey = byAttachKey
        providersByKey = byKey
        providersBySalt = bySalt
        nodesByKey = Dictionary(
            self.nodes.enumerated().map { ($0.element.key, $0.offset) }, uniquingKeysWith: { first, _ in first })
    }

    package static func empty(node: PublicKey) -> Catalog { Catalog(node: node, nodes: [], providers: []) }

    package func provider(_ key: RecordKey) -> CatalogProvider? { providersByKey[key].map { providers[$0] } }
    /// The provider of that owner and id, whatever its access is now.
    package func provider(pinned key: RecordKey) -> CatalogProvider? { providersBySalt[key].map { providers[$0] } }
    /// Adverts that the token of `key` may open.
    package func sealed(attachKey key: PublicKey) -> [SealedAdvert] {
        sealedByAttachKey[key, default: []].map { sealed[$0] }
    }
    package func publication(_ id: Publication.ID) -> Publication? { publicationsByID[id].map { publications[$0] } }
    package func node(_ key: PublicKey) -> CatalogNode? { nodesByKey[key].map { nodes[$0] } }
    /// What a node is called here: its id where it goes by somebody else's name, or is not known.
    package func name(of node: PublicKey) -> String {
        self.node(node).map { names.called(node, $0.name) } ?? KeyText.node.text(node.bytes)
    }
    package func providers(withID id: String) -> [CatalogProvider] {
        providersByID[id, default: []].map { providers[$0] }
    }
    package func providers(seenWith model: String) -> [CatalogProvider] {
        providersByModel[model, default: []].map { providers[$0] }
    }

    /// The provider for which `key` may attach workers at this node now, if it has that name in that scope.
    /// Every way of not matching is the same nil: a caller must not be able to tell which part was wrong.
    package func provider(
        attachKey key: PublicKey, scope: OwnerScope, providerID: String, wall: Timestamp
    ) -> CatalogProvider? {
        let found = providersByAttachKey[key, default: []].map { providers[$0] }.filter { provider in
            provider.scope == scope && provider.providerID == providerID
                && provider.attachKeys.contains {
                    $0.key == key && provider.admitsWorkers($0, at: node, wall: wall)
                }
        }
        if let own = found.first(where: { $0.homeNode == node }) { return own }
        // Whoever has a token can prove its key for a provider of their own, too, and no seller does: then it is better
        // that nobody gets the worker than that somebody does.
        return found.count == 1 ? found.first : nil
    }

    /// The providers of that name in that scope for which a token minted elsewhere may attach workers at this node
    /// now, the ones whose home it is first. At most `Limits.importedTokenProviders`: each costs a derivation.
    package func providers(
        withImportedTokensIn scope: OwnerScope, providerID: String, wall: Timestamp
    ) -> [CatalogProvider] {
        let found = providers(withID: providerID).filter { provider in
            provider.scope == scope && !provider.importedKeys(host: node, wall: wall).isEmpty
        }
        let ordered = found.filter { $0.homeNode == node } + found.filter { $0.homeNode != node }
        return Array(ordered.prefix(Limits.importedTokenProviders))
    }
}

extension CatalogProvider {
    /// What a node calls itself that hosts a worker of this provider.
    package func nodeName(_ node: PublicKey) -> String { hosts.first { $0.node == node }?.nodeName ?? "unknown" }
}
