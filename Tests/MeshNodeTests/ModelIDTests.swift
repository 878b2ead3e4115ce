import MeshModel
import MeshWire
import Testing

/// Every id that the list of models shows is found at `GET /v1/models/{id}`, however a client writes it.
@Suite(.serialized, .nodeLog) struct ModelIDTests {
    static let ids = [
        "m1", "/models/llama-3-8b.Q4_K_M.gguf", "@cf/meta/llama-3-8b-instruct", "hf.co/bartowski/X-GGUF:Q4_K_M",
        "C:\\models\\x.gguf", "a model with spaces", "modèle-北京-🚀", "user@host/p/q", "a%2Fb", "a/b", "100%", "a#b?c=d",
        "quo\"te", "lab/m", "trailing/", "a//b", "..", "../../admin", "accounts/fireworks/models/llama", "models/x",
        "a+b",
        "a&b=c", "%25", "%2525",
    ]

    /// As JavaScript's `encodeURIComponent`, or with the slashes and what else a path may hold left as they are.
    static func escaped(_ text: String, but kept: String) -> String {
        text.utf8.map { byte in
            let character = Character(Unicode.Scalar(byte))
            let isPlain = byte < 0x80 && (character.isLetter || character.isNumber || "-._~".contains(character))
            return isPlain || kept.utf8.contains(byte) ? String(character) : "%" + hexText([byte]).uppercased()
        }.joined()
    }

    @Test func everyListedIdIsFoundHoweverItIsWritten() async throws {
        try await Shop.open(models: Self.ids) { shop in
            let connection = try await RawConnection.open(port: shop.node.buyerPort)
            func found(_ base: String, _ path: String) async throws -> String? {
                connection.request("GET", "\(base)/models/\(path)", key: shop.buyer.key)
                let reply = try await connection.reply()
                return reply.status == 200 ? reply.document?["id"]?.text : "\(reply.status) \(reply.text)"
            }
            let listed = try await shop.buyer.call("GET", "/v1/models").document?["data"]?.elements ?? []
            #expect(listed.count == Self.ids.count)
            for model in listed {
                let id = try #require(model["id"]?.text)
                let full = try #require(model["aisbf"]?["full_name"]?.text)
                let key = try #require(model["aisbf"]?["key_name"]?.text)
                #expect(try await found("/v1", Self.escaped(id, but: "")) == id)
                #expect(try await found("/v1", Self.escaped(id, but: "/:@!$&'()*+,;=")) == id)
                #expect(try await found("/api/v1", Self.escaped(id, but: "/").lowercased()) != nil)
                #expect(try await found("/api/u/bob", Self.escaped(id, but: "")) == id)
                #expect(try await found("/api/u/bob/v1", Self.escaped(full, but: "/")) == id)
                #expect(try await found("/v1", Self.escaped(key, but: "")) == id)
                // As it stands, where it can stand in a request line.
                if id.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }), !id.contains("?"), !id.contains("#") {
                    // What looks escaped is read as that first.
                    let twin = id == "lab/a%2Fb" ? "lab/a/b" : id == "lab/%25" || id == "lab/%2525" ? nil : id
                    if let twin { #expect(try await found("/v1", id) == twin) }
                }
            }
            for unknown in ["lab/none", "lab%2Fnone", "%00", "lab/m1/", "LAB/m1", "%ff", "lab"] {
                connection.request("GET", "/v1/models/\(unknown)", key: shop.buyer.key)
                let reply = try await connection.reply()
                #expect(reply.status == 404, "\(unknown): \(reply.text)")
            }
            connection.request("DELETE", "/v1/models/lab%2Fm1", key: shop.buyer.key)
            #expect(try await connection.reply().status == 405)
            connection.request("GET", "/v1/models/lab%2Fm1", key: "sk-aisbf-x")
            #expect(try await connection.reply().status == 401)
        }
    }
}
