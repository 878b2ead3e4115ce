// swift-tools-version: 6.2
import PackageDescription

// The rings of Docs/Architecture/overview.md, one function per kind of target so that every target gets the
// same compiler settings. A target may import targets of lower rings only; Tests/RepositoryTests checks it.

let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

extension Target.Dependency {
    static func nio(_ name: String) -> Self { .product(name: name, package: "swift-nio") }
    static let ssl = Self.product(name: "NIOSSL", package: "swift-nio-ssl")
    static let http2 = Self.product(name: "NIOHTTP2", package: "swift-nio-http2")
    static let compression = Self.product(name: "NIOHTTPCompression", package: "swift-nio-extras")
    static let log = Self.product(name: "Logging", package: "swift-log")
    static let metrics = Self.product(name: "Metrics", package: "swift-metrics")
    static let signals = Self.product(name: "UnixSignals", package: "swift-service-lifecycle")
    static let lifecycle = Self.product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
    static let protobuf = Self.product(name: "SwiftProtobuf", package: "swift-protobuf")
    static let collections = Self.product(name: "OrderedCollections", package: "swift-collections")
    static let deque = Self.product(name: "DequeModule", package: "swift-collections")
    static let http = Self.product(name: "AsyncHTTPClient", package: "async-http-client")
    static let grdb = Self.product(name: "GRDB", package: "GRDB.swift")
    static let x509 = Self.product(name: "X509", package: "swift-certificates")
    static let asn1 = Self.product(name: "SwiftASN1", package: "swift-asn1")
    static let crypto = Self.product(name: "Crypto", package: "swift-crypto")
    static let configuration = Self.product(name: "Configuration", package: "swift-configuration")
    static let yams = Self.product(name: "Yams", package: "Yams")
    static let arguments = Self.product(name: "ArgumentParser", package: "swift-argument-parser")
    static let histogram = Self.product(name: "Histogram", package: "hdrhistogram-swift")
}

func ring(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: strict)
}

func tests(_ name: String, _ dependencies: [Target.Dependency], resources: [Resource]? = nil) -> Target {
    .testTarget(name: name, dependencies: dependencies, resources: resources, swiftSettings: strict)
}

let package = Package(
    name: "aisbf-mesh",
    products: [
        .executable(name: "aisbf", targets: ["aisbf"])
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-asn1", from: "1.7.4"),
        .package(url: "https://github.com/apple/swift-certificates", from: "1.21.1"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(
            url: "https://github.com/apple/swift-configuration", from: "1.4.0",
            traits: [.defaults, "YAML", "CommandLineArguments"]),
        .package(url: "https://github.com/apple/swift-crypto", "4.5.2"..<"6.0.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-extras", from: "1.35.2"),
        .package(url: "https://github.com/apple/swift-nio-http2", from: "1.46.0"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
        .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    ],
    targets: [
        // Ring 0
        .systemLibrary(name: "CSodium"),
        .systemLibrary(name: "CZlib"),
        .systemLibrary(name: "CZstd"),
        ring("MeshModel"),
        .target(
            name: "MeshWire", dependencies: ["MeshModel", .protobuf], exclude: ["Protos"], swiftSettings: strict),
        // Ring 1
        ring("MeshGossip", ["MeshModel", "MeshWire", .collections, .deque]),
        ring("MeshDialects", ["MeshModel", "MeshWire"]),
        ring("MeshSessions", ["MeshModel", "MeshWire", "MeshDialects"]),
        ring("MeshRouting", ["MeshModel", "MeshWire", "MeshGossip", .collections]),
        ring("MeshAccounting", ["MeshModel", "MeshWire", .deque]),
        // Ring 2
        ring("MeshBroker", ["MeshModel", "MeshWire", "MeshGossip", "MeshRouting", .collections]),
        ring("MeshTopology", ["MeshModel", "MeshWire", "MeshRouting", .yams]),
        ring(
            "MeshSimulation",
            [
                "MeshModel", "MeshWire", "MeshGossip", "MeshRouting", "MeshBroker", "MeshTopology", "MeshCrypto",
                .collections, .protobuf,
            ]),
        // Ring 3
        ring("MeshCrypto", ["CSodium", "MeshModel", .crypto]),
        ring("MeshStore", ["MeshModel", "MeshWire", "MeshRouting", "MeshAccounting", "MeshCrypto", .grdb]),
        ring(
            "MeshTransport",
            [
                "MeshModel", "MeshWire", "MeshGossip", "MeshCrypto", .nio("NIOCore"), .nio("NIOPosix"),
                .nio("NIOHTTP1"),
                .nio("NIOWebSocket"), .nio("NIOTLS"), .ssl, .http2, .x509, .asn1, .crypto, .deque,
            ]),
        ring("MeshTelemetry", ["MeshModel", .metrics, .log]),
        ring("MeshExchange", ["MeshModel", "MeshWire", "MeshDialects", "MeshRouting", .nio("NIOCore"), .deque]),
        ring(
            "MeshUpstream",
            [
                "MeshModel", "MeshWire", "MeshDialects", "MeshSessions", "MeshExchange", .nio("NIOCore"),
                .nio("NIOPosix"), .nio("NIOHTTP1"), .ssl, .http, .compression, .log, .metrics,
            ]),
        // Ring 4
        ring(
            "MeshRuntime",
            [
                "MeshModel", "MeshWire", "MeshGossip", "MeshSessions", "MeshRouting", "MeshDialects", "MeshAccounting",
                "MeshBroker", "MeshCrypto", "MeshStore", "MeshExchange",
                "MeshTransport", "MeshTelemetry", "MeshUpstream", .nio("NIOCore"), .nio("NIOPosix"),
                .nio("NIOHTTP1"), .deque, .log, .metrics,
            ]),
        // Ring 5
        ring(
            "MeshGateway",
            [
                "CZlib", "CZstd", "MeshModel", "MeshWire", "MeshCrypto", "MeshRouting", "MeshDialects",
                "MeshAccounting", "MeshSessions",
                "MeshBroker", "MeshExchange",
                "MeshTransport", "MeshRuntime", "MeshTelemetry", .nio("NIOCore"), .nio("NIOHTTP1"),
                .nio("NIOWebSocket"),
                .metrics, .protobuf,
            ]),
        ring(
            "MeshWorker",
            [
                "MeshModel", "MeshWire", "MeshUpstream", .nio("NIOCore"), .nio("NIOPosix"), .nio("NIOHTTP1"),
                .nio("NIOWebSocket"), .ssl, .lifecycle, .log,
            ]),
        // Ring 6
        ring(
            "MeshNode",
            [
                "MeshModel", "MeshWire", "MeshGossip", "MeshSessions", "MeshRouting", "MeshBroker", "MeshCrypto",
                "MeshStore",
                "MeshTransport", "MeshTelemetry", "MeshExchange", "MeshRuntime", "MeshGateway", .configuration, .yams,
                .lifecycle,
                .signals, .log, .metrics, .nio("NIOCore"), .nio("NIOPosix"), .ssl,
            ]),
        // Ring 7
        ring(
            "MeshCLI",
            [
                "MeshModel", "MeshCrypto", "MeshTelemetry", "MeshTopology", "MeshNode", "MeshWorker",
                .arguments, .http,
                .lifecycle, .signals, .log, .nio("NIOCore"), .nio("NIOPosix"), .nio("NIOHTTP1"),
                .ssl,
            ]),
        .executableTarget(name: "aisbf", dependencies: ["MeshCLI"], swiftSettings: strict),
        .executableTarget(
            name: "mesh-sim", dependencies: ["MeshSimulation", "MeshTopology", "MeshModel", .arguments],
            swiftSettings: strict),
        .executableTarget(
            name: "mesh-bench",
            dependencies: [
                "MeshModel", "MeshWire", "MeshRouting", "MeshDialects", .nio("NIOCore"), .nio("NIOPosix"),
                .arguments, .histogram,
            ],
            path: "Benchmarks/mesh-bench", swiftSettings: strict),
        // Tests
        tests("MeshModelTests", ["MeshModel"]),
        tests("MeshWireTests", ["MeshWire", "MeshModel", "MeshCrypto", .protobuf]),
        tests("MeshCryptoTests", ["MeshCrypto", "MeshModel"], resources: [.copy("Vectors")]),
        tests("MeshGossipTests", ["MeshGossip", "MeshWire", "MeshModel", "MeshCrypto", .protobuf]),
        tests("MeshSimulationTests", ["MeshSimulation", "MeshTopology", "MeshModel"]),
        tests("MeshDialectsTests", ["MeshDialects", "MeshWire", "MeshModel"]),
        tests("MeshSessionsTests", ["MeshSessions", "MeshDialects", "MeshWire", "MeshModel"]),
        tests(
            "MeshExchangeTests",
            ["MeshExchange", "MeshRouting", "MeshWire", "MeshModel", .nio("NIOCore"), .nio("NIOEmbedded")]),
        tests("MeshRoutingTests", ["MeshRouting", "MeshGossip", "MeshWire", "MeshModel", "MeshCrypto", .protobuf]),
        tests(
            "MeshBrokerTests",
            ["MeshBroker", "MeshGossip", "MeshRouting", "MeshWire", "MeshModel", "MeshCrypto"]),
        tests("MeshAccountingTests", ["MeshAccounting", "MeshModel", "MeshWire"]),
        tests("MeshTopologyTests", ["MeshTopology"]),
        tests(
            "MeshStoreTests",
            ["MeshStore", "MeshAccounting", "MeshRouting", "MeshModel", "MeshWire", "MeshCrypto", .grdb]),
        tests(
            "MeshTransportTests",
            [
                "MeshTransport", "MeshModel", "MeshWire", "MeshGossip", "MeshCrypto", .nio("NIOCore"), .nio("NIOPosix"),
                .nio("NIOHTTP1"), .nio("NIOWebSocket"), .nio("NIOEmbedded"), .ssl, .protobuf,
            ]),
        // Servers that several test targets play against; in no product.
        .target(
            name: "MeshTestServers", dependencies: [.nio("NIOCore"), .nio("NIOPosix")], path: "Tests/MeshTestServers",
            swiftSettings: strict),
        tests(
            "MeshUpstreamTests",
            [
                "MeshUpstream", "MeshExchange", "MeshSessions", "MeshTestServers", "MeshTransport", "MeshModel",
                "MeshWire", .nio("NIOCore"), .nio("NIOPosix"), .ssl, .log,
            ]),
        tests(
            "MeshWorkerTests",
            [
                "MeshWorker", "MeshUpstream", "MeshTestServers", "MeshModel", "MeshWire", .nio("NIOCore"),
                .nio("NIOPosix"), .nio("NIOHTTP1"), .nio("NIOWebSocket"), .lifecycle, .log,
            ]),
        tests(
            "MeshRuntimeTests",
            [
                "MeshRuntime", "MeshStore", "MeshAccounting", "MeshSessions", "MeshGossip", "MeshModel", "MeshWire",
                .log,
                .nio("NIOCore"), .nio("NIOEmbedded"), .nio("NIOPosix"),
            ]),
        tests(
            "MeshGatewayTests",
            [
                "MeshGateway", "MeshRuntime", "MeshRouting", "MeshAccounting", "MeshSessions", "MeshWire", "MeshModel",
                "MeshCrypto", .nio("NIOCore"), .nio("NIOHTTP1"),
            ]),
        tests(
            "MeshNodeTests",
            [
                "MeshNode", "MeshGateway", "MeshRuntime", "MeshStore", "MeshCrypto", "MeshModel", "MeshWire",
                "MeshWorker", "MeshTransport", "MeshTelemetry", "MeshGossip", "MeshRouting",
                "MeshSessions", "MeshExchange", "MeshBroker", .nio("NIOCore"), .nio("NIOPosix"),
                .nio("NIOHTTP1"),
                .lifecycle, .log, .protobuf,
            ]),
        tests(
            "MeshCLITests",
            [
                "MeshCLI", "MeshNode", "MeshModel", .arguments, .nio("NIOCore"), .nio("NIOPosix"),
                .nio("NIOHTTP1"),
            ]),
        tests("MeshTelemetryTests", ["MeshTelemetry", "MeshModel", .log, .metrics]),
        .testTarget(
            name: "EndToEndTests", dependencies: ["aisbf"], exclude: ["openai_sdk.py", "Clients"], swiftSettings: strict
        ),
        tests("RepositoryTests", ["MeshModel"]),
    ]
)
