import MeshModel

#if canImport(Glibc)
    import Glibc
#endif

/// How many files this process may open: every connection is one.
enum OpenFiles {
    /// Raises the soft limit to the hard one; what programs get without it (1,024) is fewer than a node has connections.
    /// - Returns: the limit that holds now.
    static func raise() -> Int {
        var limit = rlimit()
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        guard getrlimit(resource, &limit) == 0 else { return 1_024 }
        let wanted = rlimit(rlim_cur: limit.rlim_max, rlim_max: limit.rlim_max)
        if limit.rlim_cur < limit.rlim_max, withUnsafePointer(to: wanted, { setrlimit(resource, $0) }) == 0 {
            limit = wanted
        }
        return Int(clamping: limit.rlim_cur)
    }

    /// How many of `limit` files buyers and workers may use: the rest is for links, the operator and the database.
    static func connections(of limit: Int) -> Int {
        min(Limits.connections, max(limit - Limits.filesReserved, limit / 2))
    }
}
