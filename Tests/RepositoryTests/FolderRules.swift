import Foundation

/// The folders of `MeshRuntime` are floors: a file names types of its own floor and of those below. SwiftPM sees one
/// target, so the names of types are what this goes by.
enum FolderRules {
    static let target = "MeshRuntime"

    /// From the ground up; Docs/Architecture/overview.md says what each is. What lies in no folder is the ground itself.
    static let floors = [
        "", "Journal", "Keys", "Accounting", "Published", "Workers", "Upstreams", "Control", "Links", "Forwarding",
        "Dispatch",
        "Market",
        "Hosting",
        "Views",
    ]

    /// Arrows that point up. There are none.
    static let upwards: [String: [String]] = [:]

    static func findings(_ files: [SourceFile]) throws -> [Finding] {
        let own = files.filter { $0.isSwift && $0.path.hasPrefix("Sources/\(target)/") }
        var homes: [Substring: Set<String>] = [:]
        for file in own {
            for name in try types(in: file) { homes[Substring(name), default: []].insert(folder(of: file)) }
        }
        return own.flatMap { file -> [Finding] in
            let here = folder(of: file)
            guard let floor = floors.firstIndex(of: here) else {
                return [Finding(rule: "folder-unknown", path: file.path, line: 1, text: here)]
            }
            return file.code.split(separator: "\n", omittingEmptySubsequences: false).enumerated().flatMap {
                index, line in
                line.split { !($0.isLetter || $0.isNumber || $0 == "_") }.compactMap { word -> Finding? in
                    // A name that two folders have says nothing.
                    guard let home = homes[word], home.count == 1, let there = home.first, there != here,
                        floors.firstIndex(of: there) ?? .max > floor, upwards[here]?.contains(there) != true
                    else { return nil }
                    return Finding(
                        rule: "folder-direction", path: file.path, line: index + 1, text: "\(word) of \(there)")
                }
            }
        }
    }

    private static func folder(of file: SourceFile) -> String {
        let parts = file.path.split(separator: "/")
        return parts.count > 3 ? String(parts[2]) : ""
    }

    /// Types that other files can name.
    private static func types(in file: SourceFile) throws -> [String] {
        try PackageManifest.matches(
            #"^(?:package\s+)?(?:final\s+|indirect\s+)*(?:struct|class|enum|protocol|actor|typealias)\s+(\w+)"#,
            file.code
        ).map { $0[0] }
    }
}
