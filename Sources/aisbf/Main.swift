internal import MeshCLI

@main struct Main {
    /// Begins on the process's first thread.
    @MainActor static func main() async {
        CommandLineEntry.prepare()
        await CommandLineEntry.main()
    }
}
