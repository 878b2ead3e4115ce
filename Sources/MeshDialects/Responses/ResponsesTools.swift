import MeshModel
import MeshWire

/// The tools of a Responses request as functions of a chat, and back.
///
/// A chat knows functions in one list and nothing else: tools of a namespace get a name of both, and a free-form tool becomes a
/// function with one text. What the model calls is told under the name that the buyer gave.
package struct ResponsesTools: Hashable, Sendable {
    struct Tool: Hashable, Sendable {
        /// As the chat has it.
        let function: String
        let name: String
        let namespace: String?
        let isFreeForm: Bool
    }

    private(set) var tools: [Tool] = []
    /// The functions, as a chat has them.
    private(set) var functions: [JSONValue] = []

    package init() {}

    init(_ list: [JSONValue], _ losses: inout Losses) {
        for tool in list { add(tool, in: nil, &losses) }
    }

    private mutating func add(_ tool: JSONValue, in namespace: String?, _ losses: inout Losses) {
        switch tool["type"]?.text {
        case "function", "custom":
            guard let name = tool["name"]?.text, !name.isEmpty, functions.count < Limits.translatedTools else {
                return losses.add("tools")
            }
            let isFreeForm = tool["type"]?.text == "custom"
            let function = Self.joined(namespace, name)
            guard !tools.contains(where: { $0.function == function }) else { return losses.add("tools") }
            tools.append(Tool(function: function, name: name, namespace: namespace, isFreeForm: isFreeForm))
            functions.append(isFreeForm ? Self.freeForm(tool, function) : Self.function(tool, function))
        case "namespace":
            guard namespace == nil, let name = tool["name"]?.text, let inner = tool["tools"]?.elements else {
                return losses.add("tools")
            }
            for tool in inner { add(tool, in: name, &losses) }
        // Whoever hosts the API runs them; a model that heard of one would call what nobody answers.
        default: losses.add("tools")
        }
    }

    private static func joined(_ namespace: String?, _ name: String) -> String {
        guard let namespace, !namespace.isEmpty else { return name }
        return namespace.hasSuffix("__") ? namespace + name : "\(namespace)__\(name)"
    }

    private static func function(_ tool: JSONValue, _ name: String) -> JSONValue {
        var members: [JSONValue.Member] = [.init("name", .string(name))]
        if let about = tool["description"], about.text != nil { members.append(.init("description", about)) }
        let said = tool["parameters"] ?? .null
        members.append(.init("parameters", said.members == nil ? ["type": "object", "properties": [:]] : said))
        if let strict = tool["strict"], strict.flag != nil { members.append(.init("strict", strict)) }
        return ["type": "function", "function": .object(members)]
    }

    private static func freeForm(_ tool: JSONValue, _ name: String) -> JSONValue {
        var about = tool["description"]?.text ?? ""
        if let format = tool["format"], format["type"]?.text == "grammar", let grammar = format["definition"]?.text {
            about += "\n\n'\(inputName)' has to follow this grammar (\(format["syntax"]?.text ?? "lark")):\n\(grammar)"
        }
        return [
            "type": "function",
            "function": [
                "name": .string(name), "description": .string(about),
                "parameters": [
                    "type": "object",
                    "properties": .object([.init(inputName, ["type": "string"])]),
                    "required": [.string(inputName)], "additionalProperties": false,
                ],
            ],
        ]
    }

    // MARK: Calls

    static let inputName = "input"

    /// What a function of the chat is to the buyer.
    func tool(function: String) -> Tool? { tools.first { $0.function == function } }

    /// What a call that comes back is in the chat.
    func function(_ name: String, in namespace: String?) -> String {
        tools.first { $0.name == name && $0.namespace == namespace }?.function ?? Self.joined(namespace, name)
    }

    static func arguments(freeForm input: String) -> String {
        let arguments: JSONValue = .object([.init(inputName, .string(input))])
        return String(decoding: arguments.bytes, as: UTF8.self)
    }

    /// The text of a free-form tool's call; what has another form stands for itself.
    /// - Parameter arguments: as they stand in a JSON string.
    static func input(of arguments: [UInt8]) -> String {
        let text = plain(arguments)
        if let input = (try? JSONValue.parse(text))?[inputName]?.text { return input }
        return String(decoding: text, as: UTF8.self)
    }

    /// - Parameter inner: a JSON string without its quotes.
    static func plain(_ inner: [UInt8]) -> [UInt8] {
        guard inner.contains(UInt8(ascii: "\\")) else { return inner }
        return ([0x22] + inner + [0x22]).withUnsafeBytes { bytes in
            guard let slice = try? JSONScanner.value(of: bytes, in: 0..<bytes.count) else { return inner }
            return JSONText.unescaped(slice, in: bytes)
        }
    }

    // MARK: The choice

    /// Sets the functions and which of them may be called.
    func add(choice: JSONValue?, parallel: JSONValue?, to chat: inout ChatDocument, _ losses: inout Losses) {
        guard !functions.isEmpty else { return }
        var kept = functions
        var word: JSONValue?
        switch choice {
        case .string(let text)?:
            if ["auto", "none", "required"].contains(text) { word = choice } else { losses.add("tool_choice") }
        case .null?, nil: break
        case let choice?: word = self.word(of: choice, &kept, &losses)
        }
        chat.set("tools", .array(kept))
        if let word { chat.set("tool_choice", word) }
        if let parallel, parallel.flag != nil { chat.set("parallel_tool_calls", parallel) }
    }

    private func word(of choice: JSONValue, _ kept: inout [JSONValue], _ losses: inout Losses) -> JSONValue? {
        switch choice["type"]?.text {
        case "function", "custom":
            guard let function = known(choice) else { break }
            return ["type": "function", "function": ["name": .string(function)]]
        case "allowed_tools":
            let allowed = (choice["tools"]?.elements ?? []).compactMap(known)
            let left = kept.filter { allowed.contains($0["function"]?["name"]?.text ?? "") }
            guard !left.isEmpty else { break }
            kept = left
            return choice["mode"]?.text == "required" ? "required" : "auto"
        default: break
        }
        losses.add("tool_choice")
        return nil
    }

    private func known(_ choice: JSONValue) -> String? {
        guard let name = choice["name"]?.text else { return nil }
        let function = function(name, in: choice["namespace"]?.text)
        return tools.contains { $0.function == function } ? function : nil
    }
}
