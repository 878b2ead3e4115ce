/// The target of a request line.
package enum RequestTarget {
    /// `/path?query` of a target that may be in absolute form (`http://host/path`), which every server has to take
    /// (RFC 9112, section 3.2.2). What it says of the host counts no more than `host` does here: nothing.
    package static func originForm(_ target: String) -> String {
        if target.utf8.first == UInt8(ascii: "/") { return target }
        let lowered = target.prefix(8).lowercased()
        guard let scheme = ["http://", "https://"].first(where: { lowered.hasPrefix($0) }) else { return target }
        let rest = target.dropFirst(scheme.count)
        guard let end = rest.firstIndex(where: { "/?#".contains($0) }) else { return "/" }
        let path = rest[end...]
        return path.first == "/" ? String(path) : "/" + path
    }
}
