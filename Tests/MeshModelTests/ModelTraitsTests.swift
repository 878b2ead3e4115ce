import MeshModel
import Testing

@Suite struct ModelTraitsTests {
    @Test func modalitiesHaveNames() {
        #expect(Modalities(names: ["text", "image", "smell", "file"]) == [.image, .file])
        #expect(Modalities([.audio, .video]).names == ["audio", "video"])
    }

    /// Each is a bit on the wire: none may move.
    @Test func parametersKeepTheirBits() {
        #expect(RequestParameters(names: ["tools"]).rawValue == 1)
        #expect(RequestParameters(names: ["structured_outputs"]).rawValue == 1 << 4)
        #expect(RequestParameters(names: ["seed", "nonsense"]).rawValue == 1 << 12)
        #expect(RequestParameters(names: ["prediction"]).rawValue == 1 << 25)
        #expect(RequestParameters(names: RequestParameter.allCases.map(\.rawValue)).rawValue == (1 << 26) - 1)
    }

    @Test func parametersHaveNames() {
        let taken = RequestParameters([.tools, .topP])
        #expect(taken.names == ["tools", "top_p"])
        #expect(taken.contains(.tools) && !taken.contains(.seed))
        // Bits of a later release are nobody's here.
        #expect(RequestParameters(rawValue: 1 << 40).names == [])
    }
}
