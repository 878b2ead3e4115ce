import Foundation
import MeshModel
import MeshWire
import Testing

/// What a node says that it serves, and what it serves.
@Suite(.serialized, .nodeLog) struct OpenAPITests {
    private static let file = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: "Docs/Reference/openapi.yaml")

    /// The paths of the document, each with its methods.
    private static func routes(_ text: String) -> [(path: String, methods: [String])] {
        var routes: [(path: String, methods: [String])] = []
        var isPaths = false
        for line in text.split(separator: "\n") {
            if !line.hasPrefix(" ") { isPaths = line == "paths:" }
            guard isPaths else { continue }
            if line.hasPrefix("  /") {
                routes.append((String(line.dropFirst(2).dropLast()), []))
            } else if line.hasPrefix("    "), !line.hasPrefix("     "), !routes.isEmpty {
                routes[routes.count - 1].methods.append(line.dropFirst(4).dropLast().uppercased())
            }
        }
        return routes
    }

    @Test func theDocumentIsServedAndTrue() async throws {
        let text = try String(contentsOf: Self.file, encoding: .utf8)
        let routes = Self.routes(text)
        #expect(routes.count > 25 && routes.allSatisfy { !$0.methods.isEmpty })
        try await Shop.open { shop in
            let served = try await Buyer(port: shop.node.buyerPort, key: "").call("GET", "/openapi.yaml")
            #expect(served.status == 200 && served["content-type"] == "application/yaml")
            #expect(served.text == text)
            for route in routes {
                let path = route.path.replacing("{id}", with: "lab%2Fm1").replacing("{kind}", with: "completions")
                for method in ["GET", "POST", "DELETE", "PUT"] {
                    let reply = try await shop.buyer.call(method, path, body: method == "GET" ? "" : "{}")
                    let isThere = reply.status != 405 && !(reply.status == 404 && reply.errorCode == "not_found")
                    if route.methods.contains(method) {
                        #expect(isThere, "\(method) \(path): \(reply.status) \(reply.text)")
                    } else if !route.path.contains("images"), !route.path.contains("audio") {
                        // Families of workers take three methods, whatever they do with them.
                        #expect(!isThere || reply.status == 400, "\(method) \(path): \(reply.status)")
                    }
                }
            }
        }
    }
}
