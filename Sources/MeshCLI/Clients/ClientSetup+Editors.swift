/// Editors, chats in a browser, and an agent: programs that have a list of providers.
extension ClientSetup {
    /// Its extension keeps the key in the editor's own store; the command takes the same.
    static func cline(_ terms: Terms, _ key: String) -> ClientSetup {
        ClientSetup(
            .cline, variables: [Variable(name: keyVariable, value: key)],
            command: "cline auth -p openai -b \(terms.base) -m \(shell(terms.model)) -k \"$\(keyVariable)\"")
    }

    static func continuedev(_ terms: Terms, _ key: String) -> ClientSetup {
        ClientSetup(
            .continuedev, file: ".continue/config.yaml",
            content: .lines(
                [
                    "name: AISBF Mesh", "version: 1.0.0", "schema: v1", "models:", "  - name: AISBF Mesh",
                    "    provider: openai", "    model: \(quoted(terms.model))", "    apiBase: \(quoted(terms.base))",
                    "    apiKey: ${{ secrets.\(keyVariable) }}",
                ], keys: ["name:", "version:", "schema:", "models:"]),
            variables: [Variable(name: keyVariable, value: key)], command: "cn")
    }

    static func librechat(_ terms: Terms, _ key: String) -> ClientSetup {
        ClientSetup(
            .librechat, file: "LibreChat/librechat.yaml",
            content: .lines(
                [
                    "version: 1.2.8", "endpoints:", "  custom:", "    - name: AISBF Mesh",
                    "      apiKey: \"${\(keyVariable)}\"", "      baseURL: \(quoted(terms.base))", "      models:",
                    "        default: [\(quoted(terms.model))]", "        fetch: true", "      titleConvo: true",
                    "      titleModel: current_model",
                ], keys: ["version:", "endpoints:"]),
            variables: [Variable(name: keyVariable, value: key)], command: "docker compose up -d")
    }

    /// It knows no price of what a mesh serves, and stops where it cannot count.
    static func mini(_ terms: Terms, _ key: String) -> ClientSetup {
        let settings = [
            ("MSWEA_CONFIGURED", "true"), ("MSWEA_COST_TRACKING", "ignore_errors"),
            ("MSWEA_MODEL_NAME", "openai/\(terms.model)"), ("OPENAI_API_BASE", terms.base), ("OPENAI_API_KEY", key),
        ]
        return ClientSetup(
            .mini, file: ".config/mini-swe-agent/.env",
            content: .lines(
                settings.map { "\($0.0)=\(quoted($0.1))" }, keys: settings.map { "\($0.0)=" }),
            command: "mini")
    }

    static func zed(_ terms: Terms, _ key: String) -> ClientSetup {
        let provider: JSONValue = .object([
            "api_url": .string(terms.base),
            "available_models": .array([
                .object([
                    "name": .string(terms.model), "display_name": .string(terms.model), "max_tokens": .integer(128_000),
                ])
            ]),
        ])
        return ClientSetup(
            .zed, file: ".config/zed/settings.json",
            content: .members(
                .object(["language_models": .object(["openai_compatible": .object(["AISBF": provider])])])),
            variables: [Variable(name: keyVariable, value: key)], command: "zed")
    }
}
