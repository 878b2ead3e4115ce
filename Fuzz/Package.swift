// swift-tools-version: 6.2
import PackageDescription

// The fuzz targets, apart from the program: everything here is compiled with libFuzzer's and AddressSanitizer's
// instrumentation. The targets below `Sources` are links to the program's own, so that one package sees their
// `package` declarations, and the dependencies are the checkouts of the package above.

let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .unsafeFlags(["-sanitize=fuzzer,address"]),
]

func ring(_ name: String, _ dependencies: [Target.Dependency] = [], exclude: [String] = []) -> Target {
    .target(name: name, dependencies: dependencies, exclude: exclude, swiftSettings: strict)
}

let protobuf = Target.Dependency.product(name: "SwiftProtobuf", package: "swift-protobuf")
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let collections = Target.Dependency.product(name: "OrderedCollections", package: "swift-collections")

let package = Package(
    name: "mesh-fuzz",
    dependencies: [
        .package(path: "../.build/checkouts/swift-protobuf"),
        .package(path: "../.build/checkouts/swift-collections"),
        .package(path: "../.build/checkouts/swift-crypto"),
        .package(path: "../.build/checkouts/swift-asn1"),
    ],
    targets: [
        .systemLibrary(name: "CSodium"),
        .systemLibrary(name: "CLibFuzzer"),
        ring("MeshModel"),
        ring("MeshWire", ["MeshModel", protobuf], exclude: ["Protos"]),
        ring("MeshDialects", ["MeshModel", "MeshWire"]),
        ring("MeshSessions", ["MeshModel", "MeshWire", "MeshDialects"]),
        ring("MeshCrypto", ["CSodium", "MeshModel", crypto]),
        .executableTarget(
            name: "mesh-fuzz",
            dependencies: ["CLibFuzzer", "MeshModel", "MeshWire", "MeshDialects", "MeshSessions", "MeshCrypto"],
            swiftSettings: strict + [.unsafeFlags(["-parse-as-library"])],
            linkerSettings: [.unsafeFlags(["-sanitize=fuzzer,address"])]),
    ]
)
