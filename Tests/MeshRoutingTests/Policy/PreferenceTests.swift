import MeshModel
import MeshRouting
import MeshWire
import Testing

@Suite struct PreferenceTests {
    private func read(
        provider: String? = nil, models: String? = nil, session: String? = nil, own: String? = nil
    ) throws -> RoutingPreferences {
        func value(_ text: String?) throws -> JSONValue? { try text.map { try JSONValue.parse(Array($0.utf8)) } }
        return try RoutingPreferences(
            provider: value(provider), models: value(models), session: value(session), own: value(own))
    }

    @Test func everyMemberIsRead() throws {
        let read = try read(
            provider: """
                {"order":["A","b"],"only":["a","b","c"],"ignore":["d"],"require_parameters":true,"data_collection":"deny",
                 "quantizations":["FP8","bf16"],"sort":"price","preferred_min_throughput":20,
                 "preferred_max_latency":{"p50":0.5,"p99":2},
                 "max_price":{"prompt":0.15,"completion":"0.60","request":0.001,"image":"0.04"}}
                """, models: #"["x","lab/y","x"]"#, session: #""conversation-7""#,
            own: #"{"prefer":"local","regions":["eu"],"operators":["north"],"resume":true}"#)
        #expect(read.order == ["A", "b"] && read.rules.only == ["a", "b", "c"] && read.rules.ignore == ["d"])
        #expect(read.rules.needsParameters && read.rules.retention == .bounded && read.mayFallBack)
        #expect(read.rules.quantizations == ["fp8", "bf16"])
        #expect(read.sort == .init(by: .price))
        #expect(read.speed.throughput.p50 == 20_000 && read.speed.throughput.p99 == 0)
        #expect(read.speed.latencyMs.p50 == 500 && read.speed.latencyMs.p99 == 2_000)
        #expect(
            read.rules.ceiling
                == PriceCeiling(
                    prompt: 150_000, completion: 600_000, request: 1_000_000_000, image: 40_000_000_000))
        #expect(read.models == ["x", "lab/y"] && read.session == "conversation-7")
        #expect(read.prefer == .local && read.rules.regions == ["eu"] && read.rules.operators == ["north"])
        #expect(read.mayResume && read.unknown == [])
    }

    @Test func nullIsAbsent() throws {
        #expect(
            try read(
                provider: #"{"order":null,"zdr":null,"sort":null,"max_price":null}"#, models: "null", session: "null",
                own: #"{"prefer":null}"#) == RoutingPreferences())
        #expect(try read(provider: "null", own: "null") == RoutingPreferences())
    }

    @Test(arguments: [
        (#"{"sort":{"by":"throughput"}}"#, PolicyOrdering.throughput, true),
        (#"{"sort":{"by":"latency","partition":"none"}}"#, .latency, false),
        (#"{"sort":{"by":"price","partition":"model","newer":1}}"#, .price, true),
    ])
    func sortMayBeAnObject(provider: String, by: PolicyOrdering, keepsApart: Bool) throws {
        #expect(try read(provider: provider).sort == .init(by: by, keepsModelsApart: keepsApart))
    }

    @Test func zeroRetentionIsTheStricterOne() throws {
        #expect(try read(provider: #"{"zdr":true,"data_collection":"deny"}"#).rules.retention == .none)
        #expect(try read(provider: #"{"zdr":false,"data_collection":"allow"}"#).rules.retention == .any)
    }

    @Test func withoutFallbacksOnlyTheOrderIsLeft() throws {
        let read = try read(provider: #"{"order":["a","b"],"allow_fallbacks":false}"#)
        #expect(read.rules.only == ["a", "b"] && !read.mayFallBack)
        let both = try self.read(provider: #"{"order":["a","b"],"only":["b","c"],"allow_fallbacks":false}"#)
        #expect(both.rules.only == ["b"])
        // Nobody is in both: that must not become everybody.
        #expect(try !self.read(provider: #"{"order":["a"],"only":["b"],"allow_fallbacks":false}"#).rules.only.isEmpty)
    }

    /// Tools send what is new somewhere else long before anybody here knows it.
    @Test func whatIsNotKnownIsPassedOver() throws {
        let read = try read(provider: #"{"only":["a"],"options":{"a":{}},"future":[1]}"#)
        #expect(read.rules.only == ["a"] && read.unknown == ["options", "future"])
        let many = (0..<100).map { "\"n\($0)\":1" }.joined(separator: ",")
        #expect(try self.read(provider: "{\(many)}").unknown.count == Limits.routingNames)
    }

    struct Wrong: Sendable, CustomStringConvertible {
        var member: String
        var text: String
        var path: String
        var description: String { "\(member): \(text)" }
    }

    @Test(arguments: [
        Wrong(member: "provider", text: #""lab""#, path: "provider"),
        Wrong(member: "provider", text: #"{"order":"lab"}"#, path: "provider.order"),
        Wrong(member: "provider", text: #"{"only":["a",1]}"#, path: "provider.only"),
        Wrong(member: "provider", text: #"{"only":[""]}"#, path: "provider.only"),
        Wrong(member: "provider", text: #"{"zdr":"yes"}"#, path: "provider.zdr"),
        Wrong(member: "provider", text: #"{"data_collection":"maybe"}"#, path: "provider.data_collection"),
        Wrong(member: "provider", text: #"{"sort":"prise"}"#, path: "provider.sort"),
        Wrong(member: "provider", text: #"{"sort":{"partition":"none"}}"#, path: "provider.sort.by"),
        Wrong(member: "provider", text: #"{"sort":{"by":"price","partition":"all"}}"#, path: "provider.sort.partition"),
        Wrong(member: "provider", text: #"{"max_price":1}"#, path: "provider.max_price"),
        Wrong(member: "provider", text: #"{"max_price":{"prompt":-1}}"#, path: "provider.max_price.prompt"),
        Wrong(member: "provider", text: #"{"max_price":{"promt":1}}"#, path: "provider.max_price.promt"),
        Wrong(
            member: "provider", text: #"{"preferred_max_latency":{"p42":1}}"#,
            path: "provider.preferred_max_latency.p42"),
        Wrong(
            member: "provider", text: #"{"preferred_min_throughput":"fast"}"#, path: "provider.preferred_min_throughput"
        ),
        // A restriction that cannot be kept to is no preference to pass over.
        Wrong(
            member: "provider", text: #"{"enforce_distillable_text":true}"#, path: "provider.enforce_distillable_text"),
        Wrong(member: "models", text: #""x""#, path: "models"),
        Wrong(member: "models", text: #"["x",7]"#, path: "models[1]"),
        Wrong(member: "session", text: "7", path: "session_id"),
        Wrong(member: "session", text: "\"\"", path: "session_id"),
        Wrong(member: "own", text: "[]", path: "aisbf"),
        Wrong(member: "own", text: #"{"perfer":"local"}"#, path: "aisbf.perfer"),
        Wrong(member: "own", text: #"{"prefer":"lokal"}"#, path: "aisbf.prefer"),
        Wrong(member: "own", text: #"{"resume":1}"#, path: "aisbf.resume"),
    ])
    func theMemberAtFaultIsNamed(wrong: Wrong) {
        #expect {
            _ = try read(
                provider: wrong.member == "provider" ? wrong.text : nil,
                models: wrong.member == "models" ? wrong.text : nil,
                session: wrong.member == "session" ? wrong.text : nil, own: wrong.member == "own" ? wrong.text : nil)
        } throws: { error in
            let error = error as? MeshError
            return error?.code == .invalidRequest && error?.parameter == wrong.path
                && error?.message.contains("'\(wrong.path)'") == true
        }
    }

    @Test func mistypedWordsAreGuessed() {
        #expect { _ = try read(own: #"{"prefer":"lokal"}"#) } throws: {
            "\($0)".contains("must be one of local, private, cheap, fast, context, media (did you mean 'local'?)")
        }
        #expect { _ = try read(own: #"{"perfer":"local"}"#) } throws: { "\($0)".contains("did you mean 'prefer'?") }
    }

    @Test func listsAreBounded() {
        let names = (0...Limits.routingNames).map { "\"n\($0)\"" }.joined(separator: ",")
        #expect(throws: MeshError.self) { try read(provider: "{\"only\":[\(names)]}") }
        let models = (0...Limits.fallbackModels).map { "\"m\($0)\"" }.joined(separator: ",")
        #expect(throws: MeshError.self) { try read(models: "[\(models)]") }
    }

    @Test(arguments: [
        ("llama:nitro", "llama", PolicyOrdering.throughput), ("lab/org/m:floor", "lab/org/m", .price),
    ])
    func endingsAskForAnOrdering(name: String, model: String, ordering: PolicyOrdering) {
        #expect(ModelSuffix(name)?.model == model && ModelSuffix(name)?.ordering == ordering)
    }

    @Test(arguments: ["llama", ":nitro", "llama:free", "llama:nitro/x", "llama:Nitro", ""])
    func otherNamesHaveNone(name: String) { #expect(ModelSuffix(name) == nil) }
}
