import ArgumentParser
import MeshDialects
import MeshWire

/// Estimates texts, for `Benchmarks/token-estimate.py`, which knows what models count for the same.
struct Tokens: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Read JSON strings, one a line, and write how many tokens each is estimated to be.")

    func run() throws {
        while let line = readLine() {
            guard let text = try? JSONValue.parse(Array(line.utf8)).text else {
                throw ValidationError("this line is no JSON string: \(line.prefix(80))")
            }
            print(TokenEstimate.tokens(of: text))
        }
    }
}
