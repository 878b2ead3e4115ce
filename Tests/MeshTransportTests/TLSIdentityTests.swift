import Foundation
import MeshTransport
import Testing

@Suite struct TLSIdentityTests {
    @Test func keepsOneIdentityPerFileAndRefusesOpenOrDamagedOnes() throws {
        let path = NSTemporaryDirectory() + "/link-\(UUID().uuidString).pem"
        defer { try? FileManager.default.removeItem(atPath: path) }
        let first = try TLSIdentity.loadOrCreate(path: path)
        #expect(first.spkiHash.count == 32)
        #expect(try TLSIdentity.loadOrCreate(path: path).spkiHash == first.spkiHash)
        #expect(try TLSIdentity.ephemeral().spkiHash != first.spkiHash)
        let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? NSNumber
        #expect(mode?.intValue == 0o600)
        try FileManager.default.setAttributes([.posixPermissions: NSNumber(value: 0o644)], ofItemAtPath: path)
        #expect(throws: TLSIdentity.Failure.self) { try TLSIdentity.loadOrCreate(path: path) }
        try FileManager.default.setAttributes([.posixPermissions: NSNumber(value: 0o600)], ofItemAtPath: path)
        try Data("-----BEGIN PRIVATE KEY-----\n".utf8).write(to: URL(fileURLWithPath: path))
        try FileManager.default.setAttributes([.posixPermissions: NSNumber(value: 0o600)], ofItemAtPath: path)
        #expect(throws: TLSIdentity.Failure.self) { try TLSIdentity.loadOrCreate(path: path) }
    }
}
