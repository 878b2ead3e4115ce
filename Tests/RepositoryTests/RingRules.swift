/// Which target may know which: lower rings only, and only what the manifest declares. SwiftPM itself lets an
/// undeclared import compile as soon as another target happens to build the module.
enum RingRules {
    /// Docs/Architecture/overview.md draws them.
    static let rings: [String: Int] = [
        "CSodium": 0, "CZlib": 0, "CZstd": 0, "MeshModel": 0, "MeshWire": 0,
        "MeshGossip": 1, "MeshSessions": 1, "MeshRouting": 1, "MeshDialects": 1, "MeshAccounting": 1,
        "MeshBroker": 2, "MeshTopology": 2, "MeshSimulation": 2,
        "MeshCrypto": 3, "MeshStore": 3, "MeshTransport": 3, "MeshExchange": 3, "MeshUpstream": 3,
        "MeshTelemetry": 3,
        "MeshRuntime": 4,
        "MeshGateway": 5, "MeshDashboard": 5, "MeshWorker": 5,
        "MeshNode": 6,
        "MeshCLI": 7,
        // Nothing that is shipped may know what is highest.
        "aisbf": 8, "mesh-sim": 8, "mesh-bench": 8, "MeshTestServers": 8,
    ]

    /// Arrows between neighbours in one ring, and the one that points up.
    static let arrows: [String: [String]] = [
        "MeshWire": ["MeshModel"],
        // What a backend says in its own dialect comes through a worker's frames.
        "MeshSessions": ["MeshDialects"],
        // A catalog is built of what only gossip can say is usable.
        "MeshRouting": ["MeshGossip"],
        "MeshCrypto": ["CSodium"],
        "MeshStore": ["MeshCrypto"],
        "MeshTransport": ["MeshCrypto"],
        // An upstream of this node's own answers requests as any place does.
        "MeshUpstream": ["MeshExchange"],
        // The simulator signs real records: it runs beside the node, never inside it.
        "MeshSimulation": ["MeshBroker", "MeshTopology", "MeshCrypto"],
    ]

    /// Libraries of the machine, each behind a module map of its own.
    static let systemLibraries = ["CSodium", "CZlib", "CZstd"]

    /// Modules that come with the toolchain.
    static let system = [
        "Foundation", "FoundationEssentials", "Glibc", "Synchronization", "Dispatch", "Testing", "RegexBuilder",
    ]

    /// What a pure target may import beyond targets of this package: containers and the generated messages' runtime.
    static let pureModules = [
        "OrderedCollections", "DequeModule", "SwiftProtobuf",
    ]

    /// Modules that belong to a product of another name.
    static let productOfModule = ["CoreMetrics": "Metrics", "NIOHPACK": "NIOHTTP2"]

    /// Only this target may import it: one verifier, one database library, one YAML library for files people write.
    static let onlyImporters: [String: [String]] = [
        "CSodium": ["MeshCrypto"],
        "CZlib": ["MeshGateway"],
        "CZstd": ["MeshGateway"],
        "GRDB": ["MeshStore", "MeshStoreTests"],
        "Yams": ["MeshTopology", "MeshNode"],
    ]

    static func manifestFindings(_ manifest: PackageManifest) -> [Finding] {
        manifest.imports.keys.sorted().filter { !$0.hasSuffix("Tests") }.flatMap { target -> [Finding] in
            guard let ring = rings[target] else { return [finding("ring-unknown", "Package.swift", 1, target)] }
            return manifest.targets(of: target).compactMap { other in
                let isLower = rings[other].map { $0 < ring } ?? false
                if isLower || arrows[target]?.contains(other) == true { return nil }
                return finding("ring-direction", "Package.swift", 1, "\(target) depends on \(other)")
            }
        }
    }

    /// The simulator runs anywhere and must not wait for a socket: no network code is in its build graph.
    static func simulatorFindings(_ manifest: PackageManifest) -> [Finding] {
        var reached: [String] = ["mesh-sim"]
        var next = 0
        while next < reached.count {
            reached += manifest.targets(of: reached[next]).filter { !reached.contains($0) }
            next += 1
        }
        return reached.flatMap { target in
            (manifest.imports[target] ?? []).filter { $0.hasPrefix("NIO") || $0 == "AsyncHTTPClient" }
                .map { finding("simulator-network", "Package.swift", 1, "\($0) through \(target)") }
        }
    }

    static func importFindings(in file: SourceFile, manifest: PackageManifest) throws -> [Finding] {
        guard file.isSwift, let target = file.target else { return [] }
        let declared = manifest.imports[target] ?? []
        return try imports(of: file).compactMap { module, line in
            if let importers = onlyImporters[module], !importers.contains(target) {
                return finding("import-reserved", file.path, line, "\(module) in \(target)")
            }
            let product = productOfModule[module] ?? module
            if system.contains(module) || declared.contains(product) { return nil }
            return finding("import-undeclared", file.path, line, "\(module) in \(target)")
        }
    }

    static func purityFindings(in file: SourceFile) throws -> [Finding] {
        // swift-protobuf writes its own imports.
        guard file.isSwift, !file.isGenerated, file.path.hasPrefix("Sources/"), let target = file.target,
            PatternRule.pureTargets.contains(target)
        else { return [] }
        return try imports(of: file).compactMap { module, line in
            if rings[module] != nil || pureModules.contains(module) { return nil }
            if module == "Yams" && target == "MeshTopology" { return nil }
            // The bytes of a protobuf field are its `Data`.
            if module == "FoundationEssentials" && target == "MeshWire" { return nil }
            return finding("pure-import", file.path, line, "\(module) in \(target)")
        }
    }

    /// Module names with their lines.
    static func imports(of file: SourceFile) throws -> [(module: String, line: Int)] {
        // Generated files carry no interesting comments, so their text serves as code.
        let code = file.isGenerated ? file.text : file.code
        return try code.split(separator: "\n", omittingEmptySubsequences: false).enumerated().flatMap { index, line in
            try PackageManifest.matches(
                #"^\s*(?:@\w+(?:\(\w+\))?\s+)*(?:(?:package|internal|private|fileprivate|public)\s+)?import\s+(?:(?:struct|class|enum|protocol|func|var|let|typealias)\s+)?(\w+)"#,
                String(line)
            ).map { ($0[0], index + 1) }
        }
    }

    private static func finding(_ rule: String, _ path: String, _ line: Int, _ text: String) -> Finding {
        Finding(rule: rule, path: path, line: line, text: text)
    }
}
