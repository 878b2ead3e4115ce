import GRDB
package import MeshModel

extension MeshStore {
    /// All rules, in the order in which they were added.
    package func meshRules() throws(StoreError) -> [MeshRule] {
        try read { database in
            try Row.fetchAll(
                database, sql: "SELECT * FROM mesh_rules ORDER BY added_at, kind, value LIMIT ?",
                arguments: [Limits.meshRulesStored]
            ).compactMap { row in
                MeshRule.Kind(rawValue: row["kind"]).map {
                    MeshRule(kind: $0, value: row["value"], addedAt: Timestamp(milliseconds: row["added_at"]))
                }
            }
        }
    }

    /// - Throws: `.conflict` when it is there already, `.invalid` when there are too many.
    package func addMeshRule(_ rule: MeshRule) throws(StoreError) {
        guard rule.value.utf8.count <= Limits.recordTextBytes else { throw .invalid("the rule is too long") }
        try write { database in
            let count = try Int.fetchOne(database, sql: "SELECT count(*) FROM mesh_rules") ?? 0
            guard count < Limits.meshRulesStored else {
                throw StoreError.invalid("this node has \(count) rules of its mesh, which is its limit")
            }
            let known = try Int.fetchOne(
                database, sql: "SELECT count(*) FROM mesh_rules WHERE kind = ? AND value = ?",
                arguments: [rule.kind.rawValue, rule.value])
            guard known == 0 else { throw StoreError.conflict("'\(rule.value)' is there already") }
            try database.execute(
                sql: "INSERT INTO mesh_rules (kind, value, added_at) VALUES (?, ?, ?)",
                arguments: [rule.kind.rawValue, rule.value, rule.addedAt.milliseconds])
        }
    }

    /// - Throws: `.notFound`.
    package func removeMeshRule(_ kind: MeshRule.Kind, _ value: String) throws(StoreError) {
        try write { database in
            try database.execute(
                sql: "DELETE FROM mesh_rules WHERE kind = ? AND value = ?", arguments: [kind.rawValue, value])
            guard database.changesCount > 0 else { throw StoreError.notFound("there is no rule '\(value)'") }
        }
    }
}
