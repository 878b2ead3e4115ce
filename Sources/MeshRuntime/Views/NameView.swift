package import MeshModel
package import MeshRouting

/// What a name means here, and who else claims it.
package struct NameView: Sendable {
    package var name: MeshName
    /// Nil: several came with it at once.
    package var means: String?
    package var claimants: [String]
    package var home: PublicKey
    package var learnt: Timestamp
    package var isUsed: Bool
    package var isOwn: Bool
}

extension NameView {
    init(_ pin: NamePin, _ claims: [NameConflict]) {
        name = pin.name
        means = pin.holder.map { pin.name.text(of: $0) }
        claimants = claims.map { $0.name.text(of: $0.claimant) }
        home = pin.home
        learnt = pin.learnt
        isUsed = pin.isUsed
        isOwn = pin.isOwn
    }

    /// Those that somebody else claims as well first.
    static func all(_ names: NameBook, onlyConflicts: Bool) -> [NameView] {
        let claims = Dictionary(grouping: names.conflicts, by: \.name)
        let pins = names.all
        let claimed = pins.filter { claims[$0.name] != nil }
        let others = onlyConflicts ? [] : pins.filter { claims[$0.name] == nil }
        return (claimed + others).map { NameView($0, claims[$0.name] ?? []) }
    }

    static func of(_ name: MeshName, _ names: NameBook) -> NameView? {
        names.pin(name).map { NameView($0, names.conflicts.filter { $0.name == name }) }
    }
}
