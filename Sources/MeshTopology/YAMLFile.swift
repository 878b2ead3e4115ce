internal import Yams

/// Files that people write, in YAML or in JSON, which is YAML.
package enum YAMLFile {
    package struct Failure: Error, CustomStringConvertible {
        package var description: String
    }

    package static func decode<Value: Decodable>(_ type: Value.Type, from text: String) throws(Failure) -> Value {
        do { return try YAMLDecoder().decode(type, from: text) } catch { throw Failure(description: "\(error)") }
    }
}
