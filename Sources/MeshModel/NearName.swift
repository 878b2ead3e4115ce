/// Suggestions for mistyped names.
package enum NearName {
    /// The candidate nearest to `name` within a third of its length (at least two edits), nil when none is near.
    /// Names over 128 bytes get no suggestion: the comparison is quadratic.
    package static func of(_ name: String, among candidates: [String]) -> String? {
        let typed = Array(name.utf8)
        guard typed.count <= longest else { return nil }
        var best: (name: String, distance: Int)?
        for candidate in candidates {
            let bytes = Array(candidate.utf8)
            guard bytes.count <= longest else { continue }
            let limit = min(max(2, typed.count / 3), (best?.distance ?? .max) - 1)
            if let distance = distance(typed, bytes, atMost: limit) { best = (candidate, distance) }
        }
        return best?.name
    }

    /// ` (did you mean 'x'?)`, or nothing.
    package static func hint(for name: String, among candidates: [String]) -> String {
        of(name, among: candidates).map { " (did you mean '\($0)'?)" } ?? ""
    }

    /// Levenshtein's distance, nil where it is greater than `limit`. Only the cells that could be within it are looked
    /// at: `2 * limit + 1` in a row.
    package static func distance(_ left: [UInt8], _ right: [UInt8], atMost limit: Int) -> Int? {
        guard limit >= 0, abs(left.count - right.count) <= limit else { return nil }
        let far = limit + 1
        var row = (0...right.count).map { min($0, far) }
        for (above, byte) in left.enumerated() {
            let first = max(1, above + 1 - limit)
            let last = min(right.count, above + 1 + limit)
            guard first <= last else { break }
            var diagonal = row[first - 1]
            row[first - 1] = first == 1 ? min(above + 1, far) : far
            var nearest = row[first - 1]
            for column in first...last {
                let replaced = diagonal + (byte == right[column - 1] ? 0 : 1)
                diagonal = row[column]
                row[column] = min(replaced, diagonal + 1, row[column - 1] + 1, far)
                nearest = min(nearest, row[column])
            }
            guard nearest <= limit else { return nil }
        }
        let distance = right.isEmpty ? left.count : row[right.count]
        return distance <= limit ? distance : nil
    }

    package static let longest = 128
}
