/// Suggestions for mistyped names.
package enum NearName {
    /// The candidate nearest to `name` within a third of its length (at least two edits), nil when none is near.
    /// Names over 128 bytes get no suggestion: the comparison is quadratic.
    package static func of(_ name: String, among candidates: [String]) -> String? {
        let typed = Array(name.utf8)
        guard typed.count <= 128 else { return nil }
        var best: (name: String, distance: Int)?
        for candidate in candidates {
            let bytes = Array(candidate.utf8)
            guard bytes.count <= 128 else { continue }
            let distance = editDistance(typed, bytes)
            if distance <= max(2, typed.count / 3), distance < best?.distance ?? .max { best = (candidate, distance) }
        }
        return best?.name
    }

    /// ` (did you mean 'x'?)`, or nothing.
    package static func hint(for name: String, among candidates: [String]) -> String {
        of(name, among: candidates).map { " (did you mean '\($0)'?)" } ?? ""
    }

    /// Levenshtein's distance with one row of memory.
    private static func editDistance(_ left: [UInt8], _ right: [UInt8]) -> Int {
        var row = Array(0...right.count)
        for (i, a) in left.enumerated() {
            var diagonal = row[0]
            row[0] = i + 1
            for (j, b) in right.enumerated() {
                let above = row[j + 1]
                row[j + 1] = min(above + 1, row[j] + 1, diagonal + (a == b ? 0 : 1))
                diagonal = above
            }
        }
        return row[right.count]
    }
}
