import Foundation
import MeshCLI
import Testing

@Suite struct LocalPortsTests {
    /// Whatever is taken meanwhile: each is bound once, and nothing stays open.
    @Test func portsAreDifferentAndNothingStaysOpen() throws {
        func isSocket(_ file: String) -> Bool {
            (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\(file)"))?.hasPrefix("socket:")
                ?? false
        }
        func sockets() throws -> Set<String> {
            Set(try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").filter(isSocket))
        }
        let before = try sockets()
        var all: Set<Int> = []
        for _ in 0..<20 {
            let ports = try LocalPorts.free(50)
            #expect(Set(ports).count == 50 && ports.allSatisfy { (1...65_535).contains($0) })
            all.formUnion(ports)
        }
        #expect(all.count > 500)
        // Other tests of this process may open some of their own meanwhile, and not a thousand.
        #expect(try sockets().subtracting(before).count < 100)
    }
}
