/// Paths of the streams on a link.
package enum LinkPath {
    /// Forwarded requests: this, or this and a target below it.
    package static let forward = "/mesh/v1/forward"

    static func isForward(_ path: String) -> Bool { path == forward || path.hasPrefix(forward + "/") }
}
