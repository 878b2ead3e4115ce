internal import MeshGossip
internal import NIOCore
internal import NIOPosix

#if canImport(Glibc)
    internal import Glibc
#endif

extension LinkFailure {
    /// Why there was no connection, as far as the system says.
    init(connecting error: any Error) {
        guard let error = error as? NIOConnectionError else {
            self = .unreachable
            return
        }
        if error.connectionErrors.isEmpty, error.dnsAError != nil || error.dnsAAAAError != nil {
            self = .nameNotFound
        } else if error.connectionErrors.contains(where: { ($0.error as? IOError)?.errnoCode == ECONNREFUSED }) {
            self = .connectionRefused
        } else {
            self = .unreachable
        }
    }
}
