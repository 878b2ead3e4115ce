import MeshDialects
import MeshModel
import MeshWire
import Testing

@Suite struct RoutingFieldsTests {
    private func read(_ text: String, ownOnly: Bool = false) throws -> (fields: RoutingFields?, rest: String) {
        let bytes = Array(text.utf8)
        let result: Result<(RoutingFields?, String), any Error> = bytes.withUnsafeBytes { raw in
            Result {
                let scanned = try JSONScanner.fields(of: raw)
                let found = try RoutingFields(scanned, in: raw, ownOnly: ownOnly)
                let kept = found?.kept(of: 0..<raw.count) ?? [0..<raw.count]
                return (found, String(decoding: kept.flatMap { raw[$0] }, as: UTF8.self))
            }
        }
        return try result.get()
    }

    @Test(arguments: [
        (#"{"model":"m","provider":{"zdr":true},"messages":[]}"#, #"{"model":"m","messages":[]}"#),
        (#"{"provider":{},"model":"m"}"#, #"{"model":"m"}"#),
        (#"{"model":"m","aisbf":{}}"#, #"{"model":"m"}"#),
        (#"{"aisbf":{}}"#, "{}"),
        (#"{ "models" : [] , "session_id" : "a" , "model":"m" }"#, #"{ "model":"m" }"#),
        (#"{"model":"m" , "models":[], "x":1,"session_id":"s","aisbf":null}"#, #"{"model":"m", "x":1}"#),
        (#"{"route":"fallback","model":"m","provider":{}}"#, #"{"model":"m"}"#),
        (#"{"models":[],"provider":{},"session_id":"s","aisbf":{}}"#, "{}"),
        // The name in another spelling of the same text.
        (#"{"model":"m","\u0070rovider":{}}"#, #"{"model":"m"}"#),
    ])
    func whatIsTheBrokersIsLeftOut(body: String, rest: String) throws {
        let read = try read(body)
        #expect(read.rest == rest && read.fields != nil)
        #expect(throws: Never.self) { _ = try JSONValue.parse(Array(read.rest.utf8)) }
    }

    @Test(arguments: [
        #"{"model":"m","messages":[{"provider":{}}],"user":"u"}"#, #"{"model":"m","route":"north"}"#,
        #"{"model":"m","Provider":{},"metadata":{"aisbf":{}},"prompt_cache_key":"k"}"#, "{}",
    ])
    func everythingElseGoesOn(body: String) throws {
        let read = try read(body)
        #expect(read.rest == body && read.fields == nil)
    }

    @Test func valuesAreRead() throws {
        let fields = try #require(
            try read(
                #"{"model":"m","provider":{"only":["a"]},"models":["x"],"session_id":"s","aisbf":{"resume":true}}"#
            ).fields)
        #expect(fields.provider == ["only": ["a"]] && fields.models == ["x"])
        #expect(fields.session == "s" && fields.own == ["resume": true])
    }

    @Test func otherKindsOfWorkersHaveMembersOfThoseNames() throws {
        let body = #"{"provider":"mine","models":{"a":1},"aisbf":{}}"#
        let read = try read(body, ownOnly: true)
        #expect(read.rest == #"{"provider":"mine","models":{"a":1}}"#)
        #expect(read.fields?.provider == nil && read.fields?.models == nil)
    }

    @Test(arguments: [
        (#"{"model":"m","provider":{},"provider":{"zdr":true}}"#, "provider"),
        (#"{"model":"m","aisbf":{},"AISBF":{}}"#, "aisbf"),
    ])
    func whatDecidesStandsThereOnce(body: String, name: String) {
        #expect { _ = try read(body) } throws: { ($0 as? MeshError)?.parameter == name }
    }

    @Test func membersAreBounded() {
        let long = String(repeating: "x", count: Limits.routingFieldBytes)
        #expect { _ = try read(#"{"provider":{"a":"\#(long)"}}"#) } throws: {
            ($0 as? MeshError)?.description.contains("16 KiB") == true
        }
        let deep = String(repeating: "[", count: 200) + String(repeating: "]", count: 200)
        #expect { _ = try read(#"{"aisbf":\#(deep)}"#) } throws: { ($0 as? MeshError)?.parameter == "aisbf" }
    }

    @Test func aPartOfTheBodyIsKeptByItself() throws {
        let fields = try #require(try read(#"{"model":"m","provider":{},"x":1}"#).fields)
        // The cut is 12..<26.
        #expect(fields.kept(of: 0..<8) == [0..<8])
        #expect(fields.kept(of: 14..<20) == [])
        #expect(fields.kept(of: 10..<30) == [10..<12, 26..<30])
    }
}
