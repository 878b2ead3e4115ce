import Foundation
import MeshCrypto
import MeshModel
import MeshStore
import Testing

@Suite struct DataDirectoryTests {
    @Test func isCreatedPrivateWithItsParents() throws {
        let scratch = try ScratchDirectory()
        let root = scratch.path + "/a/b/"
        let directory = try DataDirectory.open(root)
        #expect(directory.layout.root == scratch.path + "/a/b")
        for path in [directory.layout.root, directory.layout.keys, directory.layout.owners] {
            #expect(try fileMode(path) == 0o700)
        }
        #expect(directory.layout.database == scratch.path + "/a/b/mesh.sqlite")
        #expect(directory.layout.adminSocket == scratch.path + "/a/b/admin.sock")
        #expect(directory.layout.linkCertificate == scratch.path + "/a/b/link.pem")
    }

    @Test func secondNodeIsRefusedAndToldWho() throws {
        let scratch = try ScratchDirectory()
        var first: DataDirectory? = try DataDirectory.open(scratch.path)
        let error = storeError { _ = try DataDirectory.open(scratch.path) }
        #expect(error == .inUse(path: scratch.path, pid: getpid()))
        #expect(error?.description.contains("process \(getpid())") == true)
        #expect(error?.description.contains("stop it") == true)
        #expect(first?.layout.lockHolder == getpid())
        first = nil
        #expect(storeError { _ = try DataDirectory.open(scratch.path) } == nil)
        // Who is done says so, and need not be gone.
        let second = try DataDirectory.open(scratch.path)
        second.release()
        second.release()
        #expect(storeError { _ = try DataDirectory.open(scratch.path) } == nil)
        #expect(storeError { _ = try DataDirectory.open(scratch.path) } == nil)
    }

    /// A parent that is no directory, and one that even root cannot write to.
    @Test(arguments: ["file/inside", "/proc/aisbf-mesh-data"])
    func unusablePlaceIsNamed(place: String) throws {
        let scratch = try ScratchDirectory()
        try Data().write(to: URL(fileURLWithPath: scratch.path + "/file"))
        let root = place.hasPrefix("/") ? place : scratch.path + "/" + place
        guard case .unusable(let path, let reason)? = storeError({ _ = try DataDirectory.open(root) }) else {
            Issue.record("opened \(root)")
            return
        }
        #expect(root.hasPrefix(path))
        #expect(!reason.isEmpty)
    }

    @Test func directoryThatOthersCanWriteIsRefused() throws {
        let scratch = try ScratchDirectory()
        try FileManager.default.setAttributes([.posixPermissions: 0o777], ofItemAtPath: scratch.path)
        let error = storeError { _ = try DataDirectory.open(scratch.path) }
        #expect(error?.description.contains("other users can write") == true)
    }

    @Test func directoryThatOthersCanReadIsClosedToThem() throws {
        let scratch = try ScratchDirectory()
        try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: scratch.path)
        let directory = try DataDirectory.open(scratch.path)
        #expect(try fileMode(directory.layout.root) == 0o700)
    }

    @Test func identityIsMadeOnceAndKept() throws {
        let scratch = try ScratchDirectory()
        let directory = try DataDirectory.open(scratch.path)
        #expect(try NodeIdentity.load(from: directory) == nil)
        let first = try NodeIdentity.initialise(in: directory)
        let second = try NodeIdentity.initialise(in: directory)
        #expect(first.created && !second.created)
        #expect(first.identity.node.seed == second.identity.node.seed)
        #expect(first.identity.operatorKey.seed == second.identity.operatorKey.seed)
        #expect(first.identity.node.publicKey != first.identity.operatorKey.publicKey)
        #expect(try fileMode(directory.layout.nodeKey) == 0o600)
        #expect(try fileMode(directory.layout.operatorKey) == 0o600)
    }

    @Test func operatorKeyOfAnotherNodeCanBeGivenButNotExchanged() throws {
        let scratch = try ScratchDirectory()
        let directory = try DataDirectory.open(scratch.path)
        let mine = SigningKey.random()
        let made = try NodeIdentity.initialise(in: directory, operatorKey: mine)
        #expect(made.identity.operatorKey.publicKey == mine.publicKey)
        let error = storeError { try NodeIdentity.initialise(in: directory, operatorKey: .random()) }
        guard case .conflict? = error else {
            Issue.record("another operator key was taken: \(String(describing: error))")
            return
        }
        #expect(try NodeIdentity.load(from: directory)?.operatorKey.publicKey == mine.publicKey)
    }

    @Test func lostNodeKeyBesideADatabaseIsNotReplaced() throws {
        let scratch = try ScratchDirectory()
        let directory = try DataDirectory.open(scratch.path)
        try NodeIdentity.initialise(in: directory)
        try MeshStore.open(directory.layout.database).close()
        try FileManager.default.removeItem(atPath: directory.layout.nodeKey)
        let error = storeError { try NodeIdentity.initialise(in: directory) }
        guard case .missingKey(let path, _)? = error else {
            Issue.record("a node without its key went on: \(String(describing: error))")
            return
        }
        #expect(path == directory.layout.nodeKey)
        #expect(!FileManager.default.fileExists(atPath: directory.layout.nodeKey))
    }

    @Test func crashBetweenTheTwoKeysIsHealed() throws {
        let scratch = try ScratchDirectory()
        let directory = try DataDirectory.open(scratch.path)
        let first = SigningKey.random()
        try KeyFile.operatorKey.save(first, to: directory.layout.operatorKey)
        let made = try NodeIdentity.initialise(in: directory)
        #expect(made.identity.operatorKey.publicKey == first.publicKey)
    }

    @Test func ownerKeysAreKeptPerUserAndNeverOverwritten() throws {
        let scratch = try ScratchDirectory()
        let directory = try DataDirectory.open(scratch.path)
        #expect(try directory.ownerKey("mia") == nil)
        let made = try directory.ownerKeyCreatingIfMissing("mia")
        #expect(try directory.ownerKeyCreatingIfMissing("mia").seed == made.seed)
        guard case .conflict? = storeError({ try directory.saveOwnerKey(.random(), username: "mia") }) else {
            Issue.record("an owner key was overwritten")
            return
        }
        #expect(try directory.ownerKey("mia")?.seed == made.seed)
    }

    @Test(arguments: ["global", "", "../node", "Mia", ".hidden", "a/b"])
    func namesThatLeaveTheDirectoryAreRefused(name: String) throws {
        let scratch = try ScratchDirectory()
        let directory = try DataDirectory.open(scratch.path)
        guard case .invalid? = storeError({ _ = try directory.ownerKeyCreatingIfMissing(name) }) else {
            Issue.record("'\(name)' was taken as a username")
            return
        }
    }
}

@Suite struct KeyFileTests {
    private func damaged(_ change: (String) -> String) throws -> StoreError? {
        let scratch = try ScratchDirectory()
        let path = scratch.path + "/node.key"
        try KeyFile.node.save(.random(), to: path)
        let text = try String(contentsOfFile: path, encoding: .utf8)
        try change(text).write(toFile: path, atomically: false, encoding: .utf8)
        return storeError { _ = try KeyFile.node.load(path) }
    }

    @Test func roundTrip() throws {
        let scratch = try ScratchDirectory()
        let key = SigningKey.random()
        for kind in KeyFile.allCases {
            let path = scratch.path + "/\(kind.rawValue).key"
            #expect(try kind.load(path) == nil)
            try kind.save(key, to: path)
            #expect(try kind.load(path)?.seed == key.seed)
            #expect(try fileMode(path) == 0o600)
        }
    }

    @Test(arguments: [
        "empty", "half", "one digit", "no header", "no checksum", "other checksum",
    ])
    func damageIsFound(kind: String) throws {
        let error = try damaged { text in
            let lines = text.split(separator: "\n").map(String.init)
            return switch kind {
            case "empty": ""
            case "half": String(text.prefix(text.count / 2))
            case "one digit":
                [lines[0], "seed " + flippedFirst(lines[1].dropFirst(5)), lines[2]].joined(separator: "\n")
            case "no header": lines.dropFirst().joined(separator: "\n")
            case "no checksum": lines.dropLast().joined(separator: "\n")
            default: [lines[0], lines[1], "crc32 00000000"].joined(separator: "\n")
            }
        }
        guard case .damagedKey? = error else {
            Issue.record("\(kind): \(String(describing: error))")
            return
        }
    }

    private func flippedFirst(_ hex: Substring) -> String { (hex.first == "0" ? "1" : "0") + hex.dropFirst() }

    @Test func keyOfAnotherKindIsRefusedByName() throws {
        let scratch = try ScratchDirectory()
        let path = scratch.path + "/node.key"
        try KeyFile.operatorKey.save(.random(), to: path)
        let error = storeError { _ = try KeyFile.node.load(path) }
        #expect(error?.description.contains("it holds the operator key, not the node key") == true)
    }

    @Test(arguments: [0o640, 0o604, 0o666]) func fileThatOthersCanReadIsRefused(mode: Int) throws {
        let scratch = try ScratchDirectory()
        let path = scratch.path + "/node.key"
        try KeyFile.node.save(.random(), to: path)
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
        let error = storeError { _ = try KeyFile.node.load(path) }
        #expect(error == .readableByOthers(path: path))
        #expect(error?.description.contains("chmod 600") == true)
    }

    @Test func oversizeAndLinkedFilesAreRefused() throws {
        let scratch = try ScratchDirectory()
        let large = scratch.path + "/large.key"
        try Data(repeating: 0x41, count: Limits.keyFileBytes + 1).write(to: URL(fileURLWithPath: large))
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: large)
        let linked = scratch.path + "/linked.key"
        try KeyFile.node.save(.random(), to: scratch.path + "/node.key")
        try FileManager.default.createSymbolicLink(atPath: linked, withDestinationPath: scratch.path + "/node.key")
        #expect(storeError { _ = try KeyFile.node.load(large) } != nil)
        #expect(storeError { _ = try KeyFile.node.load(linked) } != nil)
    }

    @Test func crashBeforeTheRenameLeavesTheOldKeyAndIsTidiedUp() throws {
        let scratch = try ScratchDirectory()
        let key = SigningKey.random()
        var directory: DataDirectory? = try DataDirectory.open(scratch.path)
        let layout = DataDirectoryLayout(root: scratch.path)
        try KeyFile.node.save(key, to: layout.nodeKey)
        directory = nil
        let torn = layout.keys + "/.unfinished-node.key-000000000000"
        try Data("aisbf-mesh node key, ver".utf8).write(to: URL(fileURLWithPath: torn))
        directory = try DataDirectory.open(scratch.path)
        #expect(directory != nil)
        #expect(!FileManager.default.fileExists(atPath: torn))
        #expect(try KeyFile.node.load(layout.nodeKey)?.seed == key.seed)
    }

    @Test func failedWriteLeavesTheOldKeyAndNothingElse() throws {
        let scratch = try ScratchDirectory()
        // The rename onto a directory that is not empty fails after the new file was written.
        let target = scratch.path + "/node.key"
        try FileManager.default.createDirectory(atPath: target + "/inside", withIntermediateDirectories: true)
        #expect(storeError { try KeyFile.node.save(.random(), to: target) } != nil)
        #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.path) == ["node.key"])
    }
}
