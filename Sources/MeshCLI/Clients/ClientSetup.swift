/// How a program that people point at an AI API is told to use a node: what stands in its configuration, and how that gets
/// there. Pure: nothing is read or written here.
struct ClientSetup: Sendable, Equatable {
    /// What the configuration is made of.
    struct Terms: Sendable, Equatable {
        /// The node, without a path.
        var url: String
        /// Nil where nobody gave one.
        var key: String?
        var model: String

        /// Where programs of OpenAI's API begin.
        var base: String { "\(url)/v1" }
    }

    enum Content: Sendable, Equatable {
        /// Members of a JSON file, beside which everything else stays.
        case members(JSONValue)
        /// Lines of a text file, between two marks. `keys` are the beginnings of lines that would say the same.
        case lines([String], keys: [String])
        /// Nothing but variables.
        case variables
    }

    static let keyVariable = "AISBF_API_KEY"
    private static let keyPrefix = "sk-aisbf-"

    var client: Client
    /// Below the home directory.
    var file: String?
    var content: Content
    /// What the program finds in its environment.
    var variables: [Variable] = []
    /// What to type then.
    var command: String

    struct Variable: Sendable, Equatable {
        var name: String
        var value: String
    }

    enum Client: String, CaseIterable, Sendable {
        case aider, claude, cline, codex, librechat, llm, mini, openai, opencode, openwebui, zed
        case continuedev = "continue"

        var about: String {
            switch self {
            case .aider: "aider"
            case .claude: "the Claude Code CLI"
            case .cline: "Cline"
            case .codex: "the Codex CLI"
            case .continuedev: "Continue"
            case .librechat: "LibreChat"
            case .llm: "the command llm"
            case .mini: "mini-swe-agent"
            case .openai: "any program of OpenAI's or Anthropic's SDKs, by its environment"
            case .opencode: "opencode"
            case .openwebui: "Open WebUI, by its environment"
            case .zed: "Zed"
            }
        }

        /// The variable with which its user moves its folder.
        var folderVariable: String? {
            switch self {
            case .claude: "CLAUDE_CONFIG_DIR"
            case .codex: "CODEX_HOME"
            case .llm: "LLM_USER_PATH"
            case .mini: "MSWEA_GLOBAL_CONFIG_DIR"
            case .aider, .cline, .continuedev, .librechat, .openai, .opencode, .openwebui, .zed: nil
            }
        }

        /// Programs of Anthropic's API take only names that look like its own.
        var usualModel: String { self == .claude ? "claude/auto" : "auto" }
    }

    init(_ client: Client, _ terms: Terms) {
        let key = terms.key ?? "\(Self.keyPrefix)…"
        switch client {
        case .aider: self = Self.aider(terms, key)
        case .claude: self = Self.claude(terms, key)
        case .cline: self = Self.cline(terms, key)
        case .codex: self = Self.codex(terms, key)
        case .continuedev: self = Self.continuedev(terms, key)
        case .librechat: self = Self.librechat(terms, key)
        case .mini: self = Self.mini(terms, key)
        case .zed: self = Self.zed(terms, key)
        case .llm: self = Self.llm(terms, key)
        case .openai: self = Self.openai(terms, key)
        case .opencode: self = Self.opencode(terms, key)
        case .openwebui: self = Self.openwebui(terms, key)
        }
    }

    init(
        _ client: Client, file: String? = nil, content: Content = .variables, variables: [Variable] = [],
        command: String
    ) {
        self.client = client
        self.file = file
        self.content = content
        self.variables = variables
        self.command = command
    }

    // MARK: Each program

    private static func codex(_ terms: Terms, _ key: String) -> ClientSetup {
        ClientSetup(
            .codex, file: ".codex/config.toml",
            content: .lines(
                [
                    "[model_providers.aisbf]", #"name = "AISBF Mesh""#, "base_url = \(quoted(terms.base))",
                    #"env_key = "\#(keyVariable)""#, #"wire_api = "responses""#,
                ], keys: ["[model_providers.aisbf]"]),
            variables: [Variable(name: keyVariable, value: key)],
            command: "codex -c model_provider=aisbf -m \(shell(terms.model))")
    }

    private static func claude(_ terms: Terms, _ key: String) -> ClientSetup {
        let variables: JSONValue = .object([
            "ANTHROPIC_BASE_URL": .string(terms.url), "ANTHROPIC_AUTH_TOKEN": .string(key),
            "ANTHROPIC_MODEL": .string(terms.model),
        ])
        return ClientSetup(
            .claude, file: ".claude/settings.json", content: .members(.object(["env": variables])), command: "claude")
    }

    private static func opencode(_ terms: Terms, _ key: String) -> ClientSetup {
        let provider: JSONValue = .object([
            "npm": .string("@ai-sdk/openai-compatible"), "name": .string("AISBF Mesh"),
            "options": .object(["baseURL": .string(terms.base), "apiKey": .string("{env:\(keyVariable)}")]),
            "models": .object([terms.model: .object([:])]),
        ])
        return ClientSetup(
            .opencode, file: ".config/opencode/opencode.json",
            content: .members(.object(["provider": .object(["aisbf": provider])])),
            variables: [Variable(name: keyVariable, value: key)],
            command: "opencode --model \(shell("aisbf/\(terms.model)"))")
    }

    private static func aider(_ terms: Terms, _ key: String) -> ClientSetup {
        ClientSetup(
            .aider, file: ".aider.conf.yml",
            content: .lines(
                ["openai-api-base: \(quoted(terms.base))", "model: \(quoted("openai/\(terms.model)"))"],
                keys: ["openai-api-base:", "model:"]),
            variables: [Variable(name: "OPENAI_API_KEY", value: key)], command: "aider")
    }

    private static func llm(_ terms: Terms, _ key: String) -> ClientSetup {
        ClientSetup(
            .llm, file: ".config/io.datasette.llm/extra-openai-models.yaml",
            content: .lines(
                [
                    "- model_id: aisbf", "  model_name: \(quoted(terms.model))",
                    "  api_base: \(quoted(terms.base))", "  api_key_name: aisbf",
                ], keys: ["- model_id: aisbf"]),
            variables: [Variable(name: "LLM_AISBF_KEY", value: key)],
            command: #"llm -m aisbf --key "$LLM_AISBF_KEY" "Hello""#)
    }

    private static func openwebui(_ terms: Terms, _ key: String) -> ClientSetup {
        ClientSetup(
            .openwebui,
            variables: [
                Variable(name: "OPENAI_API_BASE_URL", value: terms.base),
                Variable(name: "OPENAI_API_KEY", value: key),
            ], command: "open-webui serve")
    }

    private static func openai(_ terms: Terms, _ key: String) -> ClientSetup {
        ClientSetup(
            .openai,
            variables: [
                Variable(name: "OPENAI_BASE_URL", value: terms.base), Variable(name: "OPENAI_API_KEY", value: key),
                Variable(name: "ANTHROPIC_BASE_URL", value: terms.url),
                Variable(name: "ANTHROPIC_AUTH_TOKEN", value: key),
            ], command: "the program, with the model \(terms.model)")
    }

    /// A text of TOML, YAML or JSON.
    static func quoted(_ text: String) -> String { JSONValue.string(text).compact }

    /// A word of a shell.
    static func shell(_ text: String) -> String {
        let isPlain = text.utf8.allSatisfy { byte in
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
            default: "-._/:@$".utf8.contains(byte)
            }
        }
        return isPlain && !text.isEmpty ? text : "'\(text.replacing("'", with: #"'\''"#))'"
    }
}

// MARK: What stands in a file

extension ClientSetup {
    /// Why nothing is written.
    struct Conflict: Error, Equatable {
        var words: String
    }

    private static let begin = "# Written by 'aisbf connect'; what stands between these two lines is written anew."
    private static let end = "# End of what 'aisbf connect' wrote."

    /// The file with this in it; the same text where it is in it already.
    /// - Parameter old: the file as it is; empty where there is none.
    /// - Throws: `Conflict` where somebody else has said something about the same.
    func applied(to old: String) throws(Conflict) -> String {
        switch content {
        case .variables: throw Conflict(words: "\(client.about) reads its environment; there is no file to write")
        case .members(let members): try Self.merged(members, old)
        case .lines(let lines, let keys): try Self.replaced(lines, keys, old)
        }
    }

    /// The file's text alone, for whoever puts it in by hand.
    var text: String {
        switch content {
        case .variables: ""
        case .members(let members): members.pretty
        case .lines(let lines, _): lines.joined(separator: "\n")
        }
    }

    private static func replaced(_ lines: [String], _ keys: [String], _ old: String) throws(Conflict) -> String {
        var before: [Substring] = []
        var behind: [Substring] = []
        var place = 0
        for line in old.split(separator: "\n", omittingEmptySubsequences: false) {
            if line == begin, place == 0 {
                place = 1
            } else if line == end, place == 1 {
                place = 2
            } else if place == 0 {
                before.append(line)
            } else if place == 2 {
                behind.append(line)
            }
        }
        guard place != 1 else { throw Conflict(words: "the mark '\(end)' is gone from it") }
        for key in keys where (before + behind).contains(where: { $0.hasPrefix(key) }) {
            throw Conflict(words: "'\(key)' is set in it already, and not by this command")
        }
        // A table of TOML ends where the next one begins: what is new stands behind everything.
        if place == 0, before.last == "" { before.removeLast() }
        if place == 0, !before.isEmpty, before.last != "" { before.append("") }
        let all = before.map(String.init) + [begin] + lines + [end] + behind.map(String.init)
        let text = all.joined(separator: "\n")
        return text.hasSuffix("\n") ? text : text + "\n"
    }

    private static func merged(_ members: JSONValue, _ old: String) throws(Conflict) -> String {
        var whole = JSONValue.object([:])
        if old.contains(where: { !$0.isWhitespace }) {
            guard let read = JSONValue.parse(Array(old.utf8)), case .object = read else {
                throw Conflict(words: "it is no JSON object, or has comments")
            }
            whole = read
        }
        let isOwn = whole["env"]?["ANTHROPIC_AUTH_TOKEN"]?.text?.hasPrefix(keyPrefix) ?? false
        let result = try merged(members, into: whole, at: "", isOwn: isOwn)
        return result == whole && !old.isEmpty ? old : result.pretty + "\n"
    }

    /// - Parameter isOwn: whether what stands in the file leads to a node already: then it may lead to another one.
    private static func merged(
        _ new: JSONValue, into old: JSONValue?, at path: String, isOwn: Bool
    ) throws(Conflict) -> JSONValue {
        guard let old, old != new else { return new }
        let isOurs = path == ".provider.aisbf" || path == ".language_models.openai_compatible.AISBF"
        if isOurs || isOwn && path.hasPrefix(".env.ANTHROPIC_") { return new }
        if case .object(let fresh) = new, case .object(var members) = old {
            for name in fresh.keys.sorted() {
                members[name] = try merged(
                    fresh[name] ?? .null, into: members[name], at: "\(path).\(name)", isOwn: isOwn)
            }
            return .object(members)
        }
        throw Conflict(words: "'\(path.dropFirst())' is set in it already, to something else")
    }
}
