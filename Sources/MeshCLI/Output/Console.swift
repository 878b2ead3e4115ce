internal import Foundation

/// Standard output and standard error, unbuffered, so that lines of parent and child keep their order.
enum Console {
    static func print(_ text: String) { write(text + "\n", to: .standardOutput) }
    static func printRaw(_ text: String) { write(text, to: .standardOutput) }
    static func error(_ text: String) { write(text + "\n", to: .standardError) }

    /// A closed pipe (`aisbf … | head`) is no failure worth a message.
    private static func write(_ text: String, to handle: FileHandle) {
        try? handle.write(contentsOf: Data(text.utf8))
    }
}
