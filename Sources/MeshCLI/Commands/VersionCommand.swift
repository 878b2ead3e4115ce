internal import ArgumentParser
internal import MeshCrypto

struct VersionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "version", abstract: "Show the version.")
    @OptionGroup var output: OutputOptions

    func run() {
        output.printObject(
            .object([
                "software": .string("aisbf \(Software.version)"), "libsodium": .string(Sodium.version),
                "platform": .string(Software.platform),
            ]), fields: [("software", "software"), ("libsodium", "libsodium"), ("platform", "platform")])
    }
}
