import Dispatch
import Foundation
import Glibc

/// How a run ends early: an interrupt, or far too long, must not leave processes behind.
enum Endings {
    /// Watches for signals and for the end of `limit` seconds.
    static func watch(removing folder: String, limit: Int) -> [any DispatchSourceProtocol] {
        let queue = DispatchQueue(label: "mesh-bench.endings")
        let end: @Sendable (String) -> Void = { reason in
            print("mesh-bench: \(reason); stopping what it started")
            Children.shared.killAll()
            try? FileManager.default.removeItem(atPath: folder)
            _exit(70)
        }
        var sources: [any DispatchSourceProtocol] = []
        for number in [SIGINT, SIGTERM] {
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: queue)
            source.setEventHandler { end("interrupted") }
            source.resume()
            sources.append(source)
        }
        let timer = DispatchSource.makeTimerSource(queue: queue)
        timer.schedule(deadline: .now() + .seconds(limit))
        timer.setEventHandler { end("not done after \(limit) s") }
        timer.resume()
        return sources + [timer]
    }

    static func raiseFileLimit() {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }
}
