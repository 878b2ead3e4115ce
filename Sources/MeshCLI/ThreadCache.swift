internal import Foundation

/// The C library's allocator keeps seven freed blocks of each size for each thread. An event loop lets go of more than that in
/// each of its turns, and whatever goes beyond is sorted and joined with its neighbours. Only the environment can say
/// otherwise, and only before a program begins (glibc, "Memory Allocation Tunables").
enum ThreadCache {
    private static let variable = "GLIBC_TUNABLES"
    private static let setting = "glibc.malloc.tcache_count=400"

    /// Begins the same program anew, in the same process, where nothing was said of it. Where that cannot be, the node runs
    /// as it is. Only from the first thread: from another one the process would look dead for a moment.
    static func widen() {
        #if canImport(Glibc)
            guard Thread.isMainThread, getenv(variable) == nil, let program = OwnExecutable.path else { return }
            setenv(variable, setting, 1)
            _ = execv(program, CommandLine.unsafeArgv)
        #endif
    }
}
