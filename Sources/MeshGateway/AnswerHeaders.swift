import MeshModel
import MeshWire
import NIOHTTP1

/// The header fields of an answer on its way to the connection; their names in lower case. The library's own checks each
/// name and value letter by letter when it is added, and each is read once more when it is written.
final class AnswerHeaders {
    private(set) var fields: [HeaderField] = []

    init() { fields.reserveCapacity(16) }
    init(_ fields: [(name: String, value: String)]) { self.fields = fields.map { HeaderField($0.name, $0.value) } }

    func add(name: String, value: String) { fields.append(HeaderField(name, value)) }
    func contains(name: String) -> Bool { fields.contains { $0.name == name } }

    var http: HTTPHeaders { HTTPHeaders(fields.map { ($0.name, $0.value) }) }
}
