import ArgumentParser

@main
struct MeshBench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mesh-bench",
        abstract: "Measures a node on this machine, against nginx and against no proxy at all.",
        subcommands: [RunCommand.self], defaultSubcommand: RunCommand.self)
}
