import Foundation
import MeshCrypto
import MeshModel
import MeshStore
import MeshWire

/// A directory of its own for one test, removed with the value.
final class ScratchDirectory: Sendable {
    let path: String

    init() throws {
        path = NSTemporaryDirectory() + "mesh-store-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        try FileManager.default.setAttributes([.posixPermissions: 0o700], ofItemAtPath: path)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    var database: String { path + "/mesh.sqlite" }
}

let time = Timestamp(milliseconds: 1_790_000_000_000)

func publicKey(_ number: UInt8) -> PublicKey {
    PublicKey(Bytes32(high: .zero, low: Bytes16(high: 0, low: UInt64(number))))
}

func fileMode(_ path: String) throws -> Int {
    let attributes = try FileManager.default.attributesOfItem(atPath: path)
    return (attributes[.posixPermissions] as? NSNumber)?.intValue ?? -1
}

/// A whole signed record; `name` decides its key.
func recordBytes(_ name: String, signer: SigningKey, sequence: UInt64 = 1) -> [UInt8] {
    RecordDraft(
        type: .providerAdvert, network: NetworkID(.zero), signer: signer.publicKey, name: Array(name.utf8),
        version: RecordVersion(epoch: 1, sequence: sequence), issued: time,
        expires: time.advanced(byMilliseconds: 1_000), body: Array(name.utf8)
    ).signed(by: signer, cryptography: Sodium.shared)
}

func recordKey(_ bytes: [UInt8]) throws -> RecordKey { try RecordEnvelope.parse(bytes).get().key }

func provider(
    _ id: String, scope: OwnerScope = .user("mia"), owner: UInt8 = 1, access: ProviderAccess = .public,
    attachKeys: [AttachKeyEntry] = []
) -> ProviderAccount {
    ProviderAccount(
        providerID: id, scope: scope, ownerKey: publicKey(owner), access: access, displayName: "Provider \(id)",
        maxConcurrency: 4, attachKeys: attachKeys, createdAt: time)
}

func attachKey(_ number: UInt8, notAfter: Timestamp? = nil) -> AttachKeyEntry {
    AttachKeyEntry(publicKey: publicKey(number), label: "rig \(number)", createdAt: time, notAfter: notAfter)
}

func apiKey(_ number: UInt8, username: String = "mia", expiresAt: Timestamp? = nil) -> APIKeyAccount {
    APIKeyAccount(
        publicKey: publicKey(number), username: username, ownerKey: publicKey(1), label: "laptop",
        scopes: [.inference, .admin], createdAt: time, expiresAt: expiresAt)
}

/// The `StoreError` that `body` throws; nil when it throws none.
func storeError(_ body: () throws -> Void) -> StoreError? {
    do {
        try body()
        return nil
    } catch {
        return error as? StoreError
    }
}
