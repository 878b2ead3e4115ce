package import MeshAccounting
package import MeshModel
import MeshStore
package import MeshWire

/// Limits, as the operator sets, shows and takes them away.
extension Administration {
    package struct QuotaEntry: Sendable {
        package var subject: QuotaSubject
        package var quota: Quota
        package var changedAt: Timestamp
        package var standings: [QuotaStanding]
    }

    /// All, by subject.
    package func quotaEntries() async throws -> [QuotaEntry] { try await blocking { [self] in try storedQuotas() } }

    package func quotaEntry(_ subject: QuotaSubject) async throws -> QuotaEntry {
        guard let found = try await quotaEntries().first(where: { $0.subject == subject }) else {
            throw Self.noQuota(subject)
        }
        return found
    }

    /// Sets what `change` says and leaves the rest as it is; it counts before this returns.
    package func setQuota(_ subject: QuotaSubject, _ change: JSONValue) async throws -> QuotaEntry {
        let subject = try await blocking { [self] in
            let subject = try known(subject)
            let before = try storedQuotas().first { $0.subject == subject }?.quota ?? Quota()
            let quota = try Quota.read(change, over: before)
            guard !quota.isEmpty else {
                throw MeshError(
                    .invalidRequest, "nothing is limited by this; take a limit away with 'aisbf limit remove'")
            }
            try store.saveQuota(StoredQuota(subject: subject, document: quota.document.bytes, changedAt: wall()))
            try publishQuotas()
            return subject
        }
        return try await quotaEntry(subject)
    }

    package func removeQuota(_ subject: QuotaSubject) async throws {
        try await blocking { [self] in
            guard try store.removeQuota(subject) else { throw Self.noQuota(subject) }
            try publishQuotas()
        }
    }

    /// Tells requests what may be used.
    func publishQuotas() throws {
        let stored = try store.quotas().map { entry in
            (entry.subject, try Quota.read((try? JSONValue.parse(entry.document)) ?? .null))
        }
        quotas.define(stored)
    }

    private func storedQuotas() throws -> [QuotaEntry] {
        try store.quotas().map { entry in
            QuotaEntry(
                subject: entry.subject, quota: try Quota.read((try? JSONValue.parse(entry.document)) ?? .null),
                changedAt: entry.changedAt, standings: quotas.standings(of: entry.subject))
        }
    }

    /// The subject under the name by which requests know it; an error when there is no such thing here.
    private func known(_ subject: QuotaSubject) throws -> QuotaSubject {
        switch subject.kind {
        case .key: return QuotaSubject(.key, try knownKey(subject.name).keyID)
        case .user:
            _ = try ownerKey(OwnerScope(username: subject.name))
            return subject
        case .provider where subject.name.contains("@"): return subject
        case .provider, .rotation, .policy:
            let parts = subject.name.split(separator: "/").map(String.init)
            guard parts.count == 2, try isKnown(subject.kind, OwnerScope(username: parts[0]), parts[1]) else {
                throw MeshError(
                    .notFound, "there is no \(subject.kind.rawValue) '\(subject.name)'; it is written OWNER/NAME",
                    parameter: "subject")
            }
            return subject
        case .peer:
            guard case .success(let bytes) = KeyText.node.parse(subject.name), PublicKey(bytes) != nil else {
                throw MeshError(
                    .invalidRequest, "a peer is written peer/aisbf_node_…, as 'aisbf mesh peers' shows it",
                    parameter: "subject")
            }
            return subject
        }
    }

    private func isKnown(_ kind: QuotaSubject.Kind, _ scope: OwnerScope, _ name: String) throws -> Bool {
        switch kind {
        case .provider: try store.provider(scope: scope, id: name) != nil
        case .rotation:
            try store.marketEntries().contains { $0.kind == .rotation && $0.scope == scope && $0.name == name }
        case .policy:
            try store.marketEntries().contains { $0.kind == .policy && $0.scope == scope && $0.name == name }
        case .key, .user, .peer: false
        }
    }

    private static func noQuota(_ subject: QuotaSubject) -> MeshError {
        MeshError(.notFound, "there is no limit for '\(subject)'; 'aisbf limit list' shows what there is")
    }
}
