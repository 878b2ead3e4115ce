internal import Configuration
internal import Foundation
internal import MeshModel

extension NodeConfiguration {
    /// Values given on the command line, by key; they win over everything.
    package typealias Overrides = [NodeConfigurationKey: [String]]

    /// The configuration from flags (`overrides`), then `environment` (`AISBF_…`), then `file` (YAML or JSON), then
    /// defaults. Throws `ConfigurationProblems` with every problem found.
    package static func load(
        file: String?, environment: [String: String], overrides: Overrides = [:]
    ) async throws -> NodeConfiguration {
        let content = file.map(NodeConfigurationFile.read) ?? NodeConfigurationFile()
        return try load(content: content, environment: environment, overrides: overrides)
    }

    static func load(
        content: NodeConfigurationFile, environment: [String: String], overrides: Overrides
    ) throws -> NodeConfiguration {
        var given: [AbsoluteConfigKey: ConfigValue] = [:]
        for (key, texts) in overrides {
            given[absolute(key)] = key.isList ? list(texts.flatMap(parts)) : text(texts.last ?? "")
        }
        var written: [AbsoluteConfigKey: ConfigValue] = [:]
        for (key, value) in content.scalars { written[absolute(key)] = text(value) }
        for (key, values) in content.lists { written[absolute(key)] = list(values) }

        // Only this program's own variables: an empty one counts as not set, as shells leave them behind.
        let own = environment.filter { $0.key.hasPrefix("AISBF_") && !$0.value.isEmpty }
        let reader = ConfigReader(providers: [
            InMemoryProvider(name: "flags", values: given),
            EnvironmentVariablesProvider(environmentVariables: own).prefixKeys(with: "aisbf"),
            InMemoryProvider(name: "file", values: written),
        ])
        var validation = NodeConfigurationValidation(
            reader: reader, environment: own, overridden: Array(overrides.keys), problems: content.problems)
        let configuration = validation.configuration(home: environment["HOME"])
        guard validation.problems.isEmpty else { throw ConfigurationProblems(problems: validation.problems) }
        return configuration
    }

    private static func absolute(_ key: NodeConfigurationKey) -> AbsoluteConfigKey {
        AbsoluteConfigKey(ConfigKey(key.rawValue))
    }

    private static func text(_ value: String) -> ConfigValue {
        ConfigValue(.string(value), isSecret: false)
    }

    private static func list(_ values: [String]) -> ConfigValue {
        ConfigValue(.stringArray(values), isSecret: false)
    }

    private static func parts(_ value: String) -> [String] {
        value.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }
    }
}
