import Foundation

/// One text file of the repository.
struct SourceFile: Sendable {
    /// Relative to the root of the repository, with slashes.
    let path: String
    let text: String
    /// The text without comments and literals; empty for files in other languages.
    let code: String

    init(path: String, text: String) {
        self.path = path
        self.text = text
        code = path.hasSuffix(".swift") && !path.hasSuffix(".pb.swift") ? SwiftText.code(text) : ""
    }

    var name: String { path.split(separator: "/").last.map(String.init) ?? path }
    var lines: [Substring] { text.split(separator: "\n", omittingEmptySubsequences: false) }
    var isSwift: Bool { path.hasSuffix(".swift") }
    var isMarkdown: Bool { path.hasSuffix(".md") }
    var isGenerated: Bool { path.hasSuffix(".pb.swift") }
    var isTest: Bool { path.hasPrefix("Tests/") }

    /// The target a file belongs to: `Sources/<target>/…`, `Benchmarks/<target>/…` or `Tests/<target>/…`.
    var target: String? {
        let parts = path.split(separator: "/")
        guard parts.count > 2, ["Sources", "Benchmarks", "Tests"].contains(String(parts[0])) else { return nil }
        return String(parts[1])
    }
}

/// The files of this checkout, without what git ignores.
struct SourceTree: Sendable {
    let root: String
    let files: [SourceFile]

    static let repository = SourceTree(root: rootOfThisCheckout)

    private static let ignored = [
        ".build", ".git", ".local", "__pycache__", "node_modules", "results", "Package.resolved",
    ]

    init(root: String, files: [SourceFile]) {
        self.root = root
        self.files = files
    }

    init(root: String) {
        self.root = root
        files = Self.paths(in: root).sorted().compactMap { path in
            guard let text = try? String(contentsOfFile: "\(root)/\(path)", encoding: .utf8) else { return nil }
            return SourceFile(path: path, text: text)
        }
    }

    var swift: [SourceFile] { files.filter { $0.isSwift && !$0.isGenerated } }
    var markdown: [SourceFile] { files.filter(\.isMarkdown) }

    func file(_ path: String) -> SourceFile? { files.first { $0.path == path } }

    /// Whether a file or directory is there, hidden ones too.
    func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: "\(root)/\(path)") }

    private static var rootOfThisCheckout: String {
        URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().path
    }

    private static func paths(in directory: String) -> [String] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
        return names.filter { !ignored.contains($0) }.flatMap { name -> [String] in
            var isDirectory: ObjCBool = false
            let full = "\(directory)/\(name)"
            guard FileManager.default.fileExists(atPath: full, isDirectory: &isDirectory) else { return [] }
            return isDirectory.boolValue ? paths(in: full).map { "\(name)/\($0)" } : [name]
        }
    }
}

/// What a rule found.
struct Finding: Hashable, Sendable, CustomStringConvertible {
    let rule: String
    let path: String
    let line: Int
    let text: String

    var description: String { "\(path):\(line): \(rule): \(text)" }
}
