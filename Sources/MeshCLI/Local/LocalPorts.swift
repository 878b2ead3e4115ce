internal import Foundation
import MeshModel

/// Free TCP ports of the loopback interface.
package enum LocalPorts {
    /// Below those that a system gives to outgoing connections: a port is kept while its node is stopped, and nobody must
    /// get it meanwhile by chance.
    private static let range = 20_000..<32_000

    /// `count` different ports that nobody listened on a moment ago.
    package static func free(_ count: Int) throws -> [Int] {
        var ports: [Int] = []
        while ports.count < count {
            // Nearly all are free; the last resort is one of the system's. That one of them is bound here keeps nobody from
            // it, this program neither: a port that is not listened on can be bound twice.
            let chosen = (0..<200).firstResult { _ in
                let port = Int.random(in: range)
                return ports.contains(port) ? nil : bound(port: port)
            }
            let found = chosen ?? bound(port: 0)
            if let found { close(found.socket) }
            guard let port = found?.port, !ports.contains(port) else {
                throw CommandFailure("no free TCP port on 127.0.0.1")
            }
            ports.append(port)
        }
        return ports
    }

    /// Whether somebody could listen on `port` now.
    static func isFree(_ port: Int, host: String = "127.0.0.1") -> Bool {
        guard let (socket, _) = bound(port: port, host: host) else { return false }
        close(socket)
        return true
    }

    private static func bound(port: Int, host: String = "127.0.0.1") -> (socket: Int32, port: Int)? {
        guard let number = UInt16(exactly: port) else { return nil }
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        var on: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = number.bigEndian
        inet_pton(AF_INET, host == "localhost" ? "127.0.0.1" : host, &address.sin_addr)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let status = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                bind(descriptor, address, length) == 0 && getsockname(descriptor, address, &length) == 0
            }
        }
        guard status else {
            close(descriptor)
            return nil
        }
        return (descriptor, Int(UInt16(bigEndian: address.sin_port)))
    }
}
