import MeshGossip
package import MeshModel
package import MeshWire

/// A rotation or policy that its owner shows to the whole mesh (Docs/Protocol/records.md): buyers at any node name it
/// `owner@node/rotation/NAME`, and its members are named by keys, so that they are the same everywhere. It gives nobody
/// access to anything: whoever hosts a member decides that, as for every request.
package struct Publication: Hashable, Sendable {
    package enum Kind: String, CaseIterable, Hashable, Sendable {
        case rotation
        case policy

        /// What stands before the name in place of a provider.
        package var word: String {
            switch self {
            case .rotation: "rotation"
            case .policy: "autoselect"
            }
        }

        fileprivate var wire: Aisbf_Mesh_V1_PublicationKind {
            switch self {
            case .rotation: .rotation
            case .policy: .policy
            }
        }
    }

    package enum Content: Hashable, Sendable {
        case rotation(Rotation)
        case policy(Policy)
    }

    /// What tells it from all others, whoever is called what.
    package struct ID: Hashable, Sendable {
        package var owner: PublicKey
        package var home: PublicKey
        package var kind: Kind
        package var name: String

        package init(owner: PublicKey, home: PublicKey, kind: Kind, name: String) {
            self.owner = owner
            self.home = home
            self.kind = kind
            self.name = name
        }
    }

    package let id: ID
    /// Of the record's bytes: another version is another.
    package let hash: Bytes32
    package let scope: OwnerScope
    package let homeName: String
    package let content: Content

    package var name: String { id.name }

    /// `seller@north/rotation/llama`, as its owner and node call themselves.
    package var fullName: String { "\(scope.username)@\(homeName)/\(id.kind.word)/\(name)" }

    /// Nil for what this version cannot read: whoever passed it on need not have read it, and is not blamed.
    init?(_ advert: UsableRecords.Advert, cryptography: any RecordCryptography) {
        let body = advert.body.publication
        let kind: Kind
        switch body.kind {
        case .rotation: kind = .rotation
        case .policy: kind = .policy
        case .unspecified, .UNRECOGNIZED: return nil
        }
        guard body.format == Self.format, NameRule.isValid(body.name),
            advert.body.providerID
                == Self.providerID(kind, body.name, home: advert.home.key, cryptography: cryptography),
            let content = Self.content(kind, Array(body.document), name: body.name)
        else { return nil }
        id = ID(owner: advert.record.signer, home: advert.home.key, kind: kind, name: body.name)
        hash = advert.record.hash
        scope = advert.scope
        homeName = advert.home.body.name
        self.content = content
    }

    // MARK: The document

    static let format: UInt32 = 1

    /// What a published document says; nil unless all of it is as it has to be. Takes any bytes.
    package static func content(_ kind: Kind, _ document: [UInt8], name: String) -> Content? {
        guard document.count <= Limits.publicationBytes, let value = try? JSONValue.parse(document) else { return nil }
        switch kind {
        case .rotation:
            let (rotation, problems) = Rotation.read(value)
            // Rotations in it would be read in a scope that other nodes do not know.
            guard problems.isEmpty, rotation.name == name, rotation.problems(others: { _ in nil }).isEmpty,
                rotation.members.allSatisfy({ $0.target.providerName.map(isKey) ?? false })
            else { return nil }
            return .rotation(rotation)
        case .policy:
            let (policy, problems) = Policy.read(value)
            guard problems.isEmpty, policy.name == name, policy.providerNames.allSatisfy(isKey) else { return nil }
            return .policy(policy)
        }
    }

    private static func isKey(_ name: String) -> Bool { ProviderKeyName.key(name) != nil }

    /// In the place of a provider's id: follows from what it is, so that one name has one record, and is short.
    package static func providerID(
        _ kind: Kind, _ name: String, home: PublicKey, cryptography: any RecordCryptography
    ) -> String {
        "p-" + cryptography.hash16(home.bytes + Array("\(kind.word)/\(name)".utf8), key: []).description
    }

    /// The advert's own part; home, owner and binding are the writer's.
    package static func write(
        _ kind: Kind, _ name: String, document: [UInt8], home: PublicKey, to advert: inout Aisbf_Mesh_V1_ProviderAdvert,
        cryptography: any RecordCryptography
    ) {
        advert.providerID = providerID(kind, name, home: home, cryptography: cryptography)
        advert.access = .ownerOnly
        advert.publication.kind = kind.wire
        advert.publication.name = name
        advert.publication.document = document.protobuf
        advert.publication.format = format
    }
}

/// `seller@north/rotation/llama`, cut.
package struct PublicationName: Hashable, Sendable {
    package var owner: String
    package var node: String
    package var kind: Publication.Kind
    package var name: String

    /// Nil for what does not look like one. It may still be the name of a model: whoever resolves names asks here first.
    package init?(_ model: String) {
        guard model.utf8.contains(UInt8(ascii: "@")),
            case .full(let owner, let node, let word, let name) = ModelName(model),
            let kind = Publication.Kind.allCases.first(where: { $0.word == word }), NameRule.isValid(name)
        else { return nil }
        (self.owner, self.node, self.kind, self.name) = (owner, node, kind, name)
    }
}

// MARK: What is written into a publication

extension Rotation.Member.Target {
    /// Nil for a rotation.
    package var providerName: String? {
        switch self {
        case .provider(let name, _): name
        case .rotation: nil
        }
    }
}

extension Rotation {
    /// The same with members that mean the same at every node; what cannot be told everywhere in place of it.
    /// - Parameter key: of the provider that a name means in the rotation's scope.
    package func published(_ key: (String) -> RecordKey?) -> (rotation: Rotation, problems: [Problem]) {
        var (told, problems) = (self, [Problem]())
        for (number, member) in members.enumerated() {
            let path = "members[\(number)]"
            guard case .provider(let name, let model) = member.target else {
                problems.append(
                    Problem(path: path, message: "a published rotation has providers only; take their places into it"))
                continue
            }
            guard let key = key(name) else {
                problems.append(Problem(path: path, message: "'\(name)' names no provider now"))
                continue
            }
            told.members[number].target = .provider(ProviderKeyName.text(key), model: model)
        }
        // Two names of one provider are one member everywhere else.
        if problems.isEmpty { problems = told.problems { _ in nil } }
        return (told, problems)
    }
}

extension Policy {
    /// The providers that it names.
    var providerNames: [String] { order + rules.only + rules.ignore }

    /// The same with names that mean the same at every node.
    /// - Parameters:
    ///   - key: of the provider that a name means in the policy's scope.
    ///   - operatorKey: of the operator that a node's name stands for.
    package func published(
        _ key: (String) -> RecordKey?, operatorKey: (String) -> PublicKey?
    ) -> (policy: Policy, problems: [PreferenceProblem]) {
        var (told, problems) = (self, [PreferenceProblem]())
        func keys(_ names: [String], _ path: String) -> [String] {
            names.map { name in
                if let key = key(name) { return ProviderKeyName.text(key) }
                problems.append(PreferenceProblem(path: path, message: "names '\(name)', which is no provider now"))
                return name
            }
        }
        told.order = keys(order, "provider.order")
        told.rules.only = keys(rules.only, "provider.only")
        told.rules.ignore = keys(rules.ignore, "provider.ignore")
        told.rules.operators = rules.operators.map { name in
            if case .success = KeyText.operatorKey.parse(name) { return name }
            if let key = operatorKey(name) { return KeyText.operatorKey.text(key.bytes) }
            problems.append(
                PreferenceProblem(path: "operators", message: "names '\(name)', which is no node of an operator's now"))
            return name
        }
        return (told, problems)
    }
}

// MARK: Finding it

extension Catalog {
    /// The one that a name means, whatever its node and its owner are called now.
    package func publication(_ name: PublicationName) -> Publication? {
        guard let home = names.node(named: name.node), let owner = names.owner(named: name.owner, at: home)
        else { return nil }
        return publication(Publication.ID(owner: owner, home: home, kind: name.kind, name: name.name))
            .flatMap { $0.scope.username == name.owner ? $0 : nil }
    }

    /// Those that a caller could do something with, by a name that leads to them: rotations of which a member is for the
    /// caller, and policies, which choose among what is.
    package func publications(for principal: Principal) -> [Publication] {
        publications.filter { told in
            switch told.content {
            case .policy: break
            case .rotation(let rotation):
                let isForCaller = rotation.members.contains { member in
                    member.target.providerName.flatMap(ProviderKeyName.key).flatMap { provider(pinned: $0) }?
                        .admits(principal) ?? false
                }
                guard isForCaller else { return false }
            }
            return PublicationName(told.fullName).flatMap(publication)?.id == told.id
        }
    }
}
