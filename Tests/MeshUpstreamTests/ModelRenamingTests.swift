import MeshModel
import MeshWire
import Testing

@testable import MeshUpstream

/// Models that are sold under a name of their own.
@Suite struct ModelRenamingTests {
    @Test(arguments: [
        (#"{"id":"c","model":"org/m","n":1.50}"#, #"{"id":"c","model":"fast","n":1.50}"#),
        ("data: {\"model\" : \"org/m\"}\n\n", "data: {\"model\" : \"fast\"}\n\n"),
        (#"{"model":"org\/m"}"#, #"{"model":"fast"}"#), (#"{"model":"org/m2"}"#, nil), (#"{"model":"xorg/m"}"#, nil),
        (#"{"content":"\"model\":\"org/m\""}"#, nil), (#"{"models":"org/m"}"#, nil), (#"{"model":1}"#, nil),
        (#"{"model":["org/m"]}"#, nil), (#"{"model""#, nil), (#""model""model":"org/m""#, #""model""model":"fast""#),
        ("data: [DONE]\n\n", nil), ("", nil),
    ])
    func itIsPutWhereItStandsHoweverItIsCut(text: String, told: String?) throws {
        let bytes = Array(text.utf8)
        let cuts = (0...bytes.count).map { [bytes[..<$0], bytes[$0...]] } + [bytes.indices.map { bytes[$0...$0] }]
        for parts in cuts {
            var renaming = try #require(ModelRenaming(from: "org/m", to: "fast"))
            let output = parts.flatMap { renaming.take($0) } + renaming.finish()
            #expect(String(decoding: output, as: UTF8.self) == told ?? text)
        }
    }

    @Test func anEventIsNeverHeldBack() throws {
        var renaming = try #require(ModelRenaming(from: "a", to: "b"))
        let event = "data: {\"choices\":[{\"delta\":{\"content\":\"model\"}}],\"model\":\"a\"}\n\n"
        #expect(String(decoding: renaming.take(event.utf8), as: UTF8.self).hasSuffix("\"model\":\"b\"}\n\n"))
        #expect(ModelRenaming(from: "a", to: "a") == nil)
    }

    @Test func namesLeadThereAndBack() throws {
        let names = ModelNames([
            .init(sold: "fast", upstream: "org/m"), .init(sold: "quick", upstream: "org/m"),
            .init(sold: "other", upstream: "n"),
        ])
        #expect(names.upstream(of: "fast") == "org/m" && names.upstream(of: "x") == "x")
        #expect(names.names(of: "org/m") == ["fast", "quick"] && names.names(of: "x") == ["x"])
        #expect(names.names(of: "other").isEmpty, "its name was given to another")
        let list: JSONValue = ["data": [["id": "org/m", "context_length": 8], ["id": "x"], ["id": "other"]]]
        let offer = try #require(ModelOffer(list, names))
        #expect(offer.models.compactMap { $0["id"]?.text } == ["fast", "quick", "x"])
        #expect(offer.models.first?["context_length"]?.integer == 8)
    }

    @Test(arguments: [
        ("X-Team", "blue", true), ("api-key", "k-123", true), ("OpenAI-Organization", "org-1", true),
        ("Authorization", "Bearer x", false), ("Host", "hidden", false), ("Connection", "close", false),
        ("TE", "trailers", false),
        ("Proxy-Authorization", "x", false), ("Content-Length", "1", false), ("Transfer-Encoding", "chunked", false),
        ("X-Forwarded-For", "1.2.3.4", false), ("aisbf-worker", "x", false), ("Cookie", "a=b", false),
        ("Accept-Encoding", "br", false), ("bad name", "x", false), ("", "x", false), ("x", "", false),
        ("x", "a\r\nb: c", false), ("x", " padded", false), ("x", "schlüssel", false),
    ])
    func dangerousHeadersAreRefused(name: String, value: String, isTaken: Bool) {
        let problem = UpstreamHeader.problem(.init(name: name, value: value))
        #expect((problem == nil) == isTaken, "\(problem ?? "taken")")
        #expect(value.utf8.count < 5 || problem?.contains(value) != true)
    }
}
