import MeshDialects
import MeshModel
import MeshWire
import Testing

/// How a request was routed, told inside its answer.
@Suite struct RouterMetadataTests {
    /// Golden: the shape that OpenRouter's programs read.
    @Test func theShape() throws {
        let metadata = RouterMetadata(
            requested: "rotation/pair", strategy: "rotation",
            available: [.init(model: "m1", provider: "a@n/lab"), .init(model: "m2", provider: "b@n/den")])
        let document = metadata.document(
            served: .init(model: "m2", provider: "b@n/den"), status: 200, attempt: 2, region: "", milliseconds: 412)
        #expect(
            String(decoding: document.bytes, as: UTF8.self)
                == #"{"requested":"rotation/pair","strategy":"rotation","region":null,"#
                + #""summary":"available=2, selected=b@n/den/m2","attempt":2,"#
                + #""attempts":[{"provider":"b@n/den","model":"m2","status":200}],"#
                + #""endpoints":{"total":2,"available":[{"model":"m1","provider":"a@n/lab","selected":false},"#
                + #"{"model":"m2","provider":"b@n/den","selected":true}]},"#
                + #""params":{},"pipeline":[],"is_byok":false,"generation_time":412}"#)
        let chunk = String(decoding: RouterMetadata.chunk(document), as: UTF8.self)
        #expect(chunk.hasPrefix("data: {") && chunk.hasSuffix("}\n\n"))
        #expect(chunk.contains(#""choices":[]"#))
    }

    @Test(arguments: [
        (#"{"id":"x"}"#, #"{"id":"x","m":1}"#), (#"{}"#, #"{"m":1}"#), ("{ }\n", "{ \"m\":1}\n"),
        (#" {"a":{"b":"}"}} "#, #" {"a":{"b":"}"},"m":1} "#), ("[1]", "[1]"), ("", ""), (#"{"cut":"#, #"{"cut":"#),
    ])
    func aMemberIsAddedWhereverItIsCut(text: String, expected: String) {
        let bytes = Array(text.utf8)
        for size in 1...max(bytes.count, 1) {
            var tail = ObjectTail()
            var passed: [UInt8] = []
            for start in stride(from: 0, to: bytes.count, by: size) {
                passed += tail.pass(bytes[start..<min(start + size, bytes.count)])
            }
            passed += tail.end(adding: "m", 1)
            #expect(String(decoding: passed, as: UTF8.self) == expected, "in pieces of \(size)")
        }
    }
}
