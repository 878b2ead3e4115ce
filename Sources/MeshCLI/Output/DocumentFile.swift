internal import Foundation
internal import MeshTopology

/// A file that is sent to the node: YAML or JSON.
enum DocumentFile {
    /// The largest file that is read.
    private static let bytes = 1 << 20

    static func read(_ file: String) throws -> JSONValue {
        let data: Data
        if file == "-" {
            data = FileHandle.standardInput.readData(ofLength: bytes + 1)
        } else {
            guard let handle = FileHandle(forReadingAtPath: file) else {
                throw CommandFailure("cannot read \(file): is it there, and may you read it?")
            }
            data = (try? handle.read(upToCount: bytes + 1)) ?? Data()
        }
        guard data.count <= bytes else { throw CommandFailure("\(file) is larger than \(bytes >> 10) KiB") }
        do { return try value(String(decoding: data, as: UTF8.self)) } catch {
            throw CommandFailure("\(file) is neither YAML nor JSON: \(error)", exitCode: 65)
        }
    }

    static func value(_ text: String) throws -> JSONValue { JSONValue.parse(try YAMLFile.json(text)) ?? .null }
}
