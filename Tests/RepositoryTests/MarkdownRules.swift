import Foundation

/// Relative links in Markdown must lead somewhere, headings included.
enum MarkdownRules {
    static func linkFindings(in file: SourceFile, tree: SourceTree) throws -> [Finding] {
        let text = prose(file.text)
        return try text.split(separator: "\n", omittingEmptySubsequences: false).enumerated().flatMap { index, line in
            try PackageManifest.matches(#"\]\(\s*<?([^)\s>]+)>?(?:\s+"[^"]*")?\s*\)"#, String(line)).compactMap {
                match in
                guard let reason = problem(match[0], from: file, tree: tree) else { return nil }
                return Finding(rule: "dead-link", path: file.path, line: index + 1, text: "\(match[0]): \(reason)")
            }
        }
    }

    private static func problem(_ link: String, from file: SourceFile, tree: SourceTree) -> String? {
        if link.firstMatch(of: #/^[a-z][a-z0-9+.-]*:/#) != nil { return nil }
        let parts = link.split(separator: "#", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        let target =
            parts[0].isEmpty ? file.path : resolved(parts[0].removingPercentEncoding ?? parts[0], from: file.path)
        guard let target else { return "leads out of the repository" }
        guard tree.exists(target) || tree.file(target) != nil else { return "there is no such file" }
        guard parts.count == 2, target.hasSuffix(".md") else { return nil }
        let text = target == file.path ? file.text : tree.file(target)?.text ?? ""
        return anchors(text).contains(parts[1]) ? nil : "there is no such heading"
    }

    /// `link` against the directory of `path`; nil when it climbs above the root.
    static func resolved(_ link: String, from path: String) -> String? {
        var parts = link.hasPrefix("/") ? [] : path.split(separator: "/").dropLast().map(String.init)
        for part in link.split(separator: "/") {
            if part == ".." {
                guard parts.popLast() != nil else { return nil }
            } else if part != "." {
                parts.append(String(part))
            }
        }
        return parts.joined(separator: "/")
    }

    /// The names GitHub gives to headings; a repeated heading gets `-1`, `-2` and so on.
    static func anchors(_ text: String) -> [String] {
        var seen: [String: Int] = [:]
        return prose(text, keepingCode: true).split(separator: "\n").filter { $0.hasPrefix("#") }.map { line in
            let title = line.drop { $0 == "#" }.trimmingCharacters(in: .whitespaces).lowercased()
            let kept = title.unicodeScalars.filter {
                CharacterSet.alphanumerics.contains($0) || $0 == "-" || $0 == "_" || $0 == " "
            }
            let base = String(String.UnicodeScalarView(kept)).replacing(" ", with: "-")
            let count = seen[base, default: 0]
            seen[base] = count + 1
            return count == 0 ? base : "\(base)-\(count)"
        }
    }

    /// The text with fenced blocks, and inline code unless kept, blanked out, line for line.
    private static func prose(_ text: String, keepingCode: Bool = false) -> String {
        var fence: Substring?
        return text.split(separator: "\n", omittingEmptySubsequences: false).map { line -> String in
            let start = line.drop { $0 == " " }.prefix(3)
            if start == "```" || start == "~~~" {
                if fence == nil { fence = start } else if fence == start { fence = nil }
                return ""
            }
            if fence != nil { return "" }
            return keepingCode ? String(line) : String(line.replacing(#/`[^`]*`/#, with: ""))
        }.joined(separator: "\n")
    }
}
