package import MeshModel

/// The workers attached to this node, by provider, as its own catalog shows them. They come from the live sessions and
/// not from records: what the mesh is told of a worker, and when, is no matter for a request that is here already.
///
/// Kept up to date worker by worker, because a thousand may come and go within seconds.
package struct LocalWorkers: Sendable {
    fileprivate struct Provider: Sendable {
        var hosts = DenseTable<RecordKey, CatalogHost>()
        var attachKeys: [RecordKey: PublicKey] = [:]
        /// How many workers each key admitted, and how many offer each model.
        var keys = DenseTable<PublicKey, Int>()
        var models = DenseTable<String, Int>()
    }

    private var providers = DenseTable<RecordKey, Provider>()
    private var nodeName = ""

    package init() {}

    /// A worker of `provider` that `attachKey` admitted, or what it offers now. `attachment` names it.
    package mutating func set(_ host: CatalogHost, of provider: RecordKey, attachKey: PublicKey) {
        var host = host
        host.nodeName = nodeName
        providers.update(provider, from: Provider()) { $0.set(host, attachKey) }
    }

    package mutating func remove(_ attachment: RecordKey, of provider: RecordKey) {
        let isEmpty = providers.update(provider) { found in
            found.remove(attachment)
            return found.hosts.isEmpty
        }
        if isEmpty == true { providers.remove(provider) }
    }

    /// What this node is called.
    package mutating func rename(_ name: String) {
        guard name != nodeName else { return }
        nodeName = name
        providers.updateAll { provider in provider.hosts.updateAll { $0.nodeName = name } }
    }

    /// The workers of `provider` whose key `isGood` says is good now.
    func hosts(of provider: RecordKey, isGood: (PublicKey) -> Bool) -> [CatalogHost] {
        guard let found = providers[provider] else { return [] }
        let good = found.keys.keys.filter(isGood)
        if good.count == found.keys.count { return found.hosts.values }
        return found.hosts.values.filter { host in
            found.attachKeys[host.attachment].map { good.contains($0) } ?? false
        }
    }

    /// What they offer, each name once.
    func models(of provider: RecordKey) -> [String] { providers[provider]?.models.keys ?? [] }
}

extension LocalWorkers.Provider {
    fileprivate mutating func set(_ host: CatalogHost, _ attachKey: PublicKey) {
        if let known = hosts[host.attachment], known.offer.models == host.offer.models,
            attachKeys[host.attachment] == attachKey
        {
            var host = host
            host.offer.models = known.offer.models
            return hosts.set(host, for: host.attachment)
        }
        remove(host.attachment)
        add(host, attachKey)
    }

    private mutating func add(_ host: CatalogHost, _ attachKey: PublicKey) {
        var host = host
        let kept = host.offer.models.filter { model in
            guard models.contains(model.id) || models.count < Limits.providerModels else { return false }
            models.update(model.id, from: 0) { $0 += 1 }
            return true
        }
        if kept.count < host.offer.models.count { host.offer.models = ModelList(kept) }
        // Most workers of a provider have the same.
        if let last = hosts.values.last, last.offer.models == host.offer.models {
            host.offer.models = last.offer.models
        }
        keys.update(attachKey, from: 0) { $0 += 1 }
        attachKeys[host.attachment] = attachKey
        hosts.set(host, for: host.attachment)
    }

    fileprivate mutating func remove(_ attachment: RecordKey) {
        guard let host = hosts.remove(attachment) else { return }
        for model in host.offer.models { Self.release(model.id, in: &models) }
        if let key = attachKeys.removeValue(forKey: attachment) { Self.release(key, in: &keys) }
    }

    private static func release<Key>(_ key: Key, in table: inout DenseTable<Key, Int>) {
        let left = table.update(key) { count -> Int in
            count -= 1
            return count
        }
        if left == 0 { table.remove(key) }
    }
}
