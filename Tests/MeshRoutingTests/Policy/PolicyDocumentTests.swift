import MeshModel
import MeshRouting
import MeshWire
import Testing

@Suite struct PolicyDocumentTests {
    private func read(_ text: String) throws -> (policy: Policy, problems: [PreferenceProblem]) {
        Policy.read(try JSONValue.parse(Array(text.utf8)))
    }

    private static let whole = """
        {"name":"team-code","about":"what we write code with","order_by":"time","models":["qwen3-coder*","devstral"],
         "prefer_local":true,"hosted":"last","location":"anywhere","regions":["eu"],"operators":["north"],
         "min_context":32000,"modalities":["image"],"require_modalities":true,"parameters":["tools","seed"],
         "provider":{"order":["lab"],"only":["lab","den"],"ignore":["barn"],"quantizations":["fp8"],"zdr":true,
                     "require_parameters":true,"max_price":{"prompt":0.5,"completion":2,"image":0.04},
                     "preferred_min_throughput":30,"preferred_max_latency":{"p50":0.75,"p90":2}}}
        """

    @Test func aWholePolicyIsReadAndWritten() throws {
        let (policy, problems) = try read(Self.whole)
        #expect(problems == [])
        #expect(policy.name == "team-code" && policy.ordering == .time && policy.hosted == .last && policy.prefersHere)
        #expect(policy.models == ["qwen3-coder*", "devstral"] && policy.order == ["lab"])
        #expect(policy.rules.leastContext == 32_000 && policy.rules.modalities == [.image])
        #expect(policy.rules.parameters == RequestParameters([.tools, .seed]) && policy.rules.retention == .none)
        #expect(policy.rules.ceiling == PriceCeiling(prompt: 500_000, completion: 2_000_000, image: 40_000_000_000))
        let again = Policy.read(policy.document)
        #expect(again.policy == policy && again.problems == [])
    }

    @Test(arguments: Policy.builtIn)
    func theBuiltInOnesCouldBeWrittenDown(policy: Policy) {
        let (read, problems) = Policy.read(policy.document)
        #expect(problems == [])
        #expect(read == policy)
    }

    @Test func aNameIsEnough() throws {
        let (policy, problems) = try read(#"{"name":"plain"}"#)
        #expect(problems == [])
        #expect(policy == Policy(name: "plain"))
    }

    @Test func allThatIsWrongIsSaidAtOnce() throws {
        let (_, problems) = try read(
            """
            {"name":"No Name","order_by":"prise","hostd":"never","min_context":-1,"modalities":["image","smell"],
             "models":["a*b"],"parameters":["tool"],"provider":{"only":["a"],"ignore":["a"],"sort":"price","future":1}}
            """)
        let expected = [
            "name", "order_by", "hostd", "min_context", "modalities", "models", "parameters", "provider.future",
            "provider.sort", "provider.ignore",
        ]
        #expect(problems.map(\.path) == expected)
        let text = problems.map(\.description).joined(separator: "\n")
        #expect(text.contains("did you mean 'price'?") && text.contains("did you mean 'hosted'?"))
        #expect(text.contains("did you mean 'tools'?") && text.contains("does not know 'smell'"))
    }

    @Test(arguments: ["[]", "7", "{}", #"{"name":null}"#, #"{"name":"a","name":"b"}"#])
    func whatIsNoPolicyIsNone(text: String) throws { #expect(try !read(text).problems.isEmpty) }

    @Test func nothingHostedIsPrivate() throws {
        #expect(try read(#"{"name":"p","location":"private"}"#).policy.hosted == .never)
    }
}

@Suite struct PolicyNameTests {
    @Test(arguments: [
        ("auto", "auto"), ("openrouter/auto", "auto"), ("auto:cheap", "cheap"), ("auto:fast", "fast"),
        ("auto:private", "private"), ("auto:context", "context"), ("auto:media", "media"),
    ])
    func builtInOnesHaveNames(name: String, policy: String) throws {
        let found = try PolicyBook().policy(try #require(PolicyName(name)), for: "alice").get()
        #expect(found.name == policy && Policy.builtIn.contains(found))
    }

    @Test(arguments: ["automatic", "lab/auto", "autoselect", "Auto", "", "auto/x", "rotation/auto"])
    func otherNamesAreModels(name: String) { #expect(PolicyName(name) == nil) }

    @Test func ownOnesComeBeforeTheOperators() throws {
        var book = PolicyBook()
        book.set([Policy(name: "code", about: "everybody's"), Policy(name: "chat")], of: .global)
        book.set([Policy(name: "code", about: "alice's")], of: .user("alice"))
        let code = try #require(PolicyName("autoselect/code"))
        #expect(try book.policy(code, for: "alice").get().about == "alice's")
        #expect(try book.policy(code, for: "bob").get().about == "everybody's")
        #expect(try book.policy(code, for: nil).get().about == "everybody's")
        let chat = try #require(PolicyName("autoselect/chat"))
        #expect(try book.policy(chat, for: "alice").get().name == "chat")
        book.set([], of: .user("alice"))
        #expect(try book.policy(code, for: "alice").get().about == "everybody's")
    }

    /// Another user's are not there at all, not even as a guess.
    @Test func unknownOnesAreExplained() throws {
        var book = PolicyBook()
        book.set([Policy(name: "code")], of: .global)
        book.set([Policy(name: "secret")], of: .user("bob"))
        func message(_ name: String) throws -> String {
            switch book.policy(try #require(PolicyName(name)), for: "alice") {
            case .success: ""
            case .failure(let error): error.code == .modelNotFound ? error.message : ""
            }
        }
        #expect(try message("autoselect/cod").contains("did you mean 'code'?"))
        #expect(try message("autoselect/secre").contains("did you mean") == false)
        #expect(try message("auto:chep").contains("did you mean 'cheap'?"))
        #expect(try message("auto:xyz").contains("auto, auto:cheap, auto:fast"))
    }
}
