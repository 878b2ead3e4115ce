package import MeshModel
import NIOCore

#if canImport(Glibc)
    import Glibc
#endif

/// The two clocks of this machine, read in one place.
package enum SystemClock {
    package static var instant: Instant { Instant(nanoseconds: Int64(NIODeadline.now().uptimeNanoseconds)) }

    package static var wall: Timestamp {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Timestamp(milliseconds: Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000)
    }

    package static var now: Now { Now(instant: instant, wall: wall) }
}
