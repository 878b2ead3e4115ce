internal import ArgumentParser

struct MeshCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mesh", abstract: "What a node knows of its mesh, whom it admits and whom it dials.",
        subcommands: [
            Peers.self, AllowCommand.self, PeerCommand.self, Providers.self, Records.self, Record.self,
            MeshNamesCommand.self,
        ])

    struct Peers: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Other nodes: who is alive, who is linked.")
        @OptionGroup var admin: AdminOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let layout = TableLayout([
                ("NAME", "name"), ("NODE ID", "node_id"), ("LINKED", "linked"), ("DIRECTION", "direction"),
                ("LEASE MS", "lease_expires_in_ms"), ("IN FLIGHT", "in_flight"), ("DRAINING", "draining"),
                ("API", "api_url"), ("STATE", "state"),
            ])
            let answer = try await admin.client().get("mesh/peers")
            output.printList(
                answer, key: "peers", layout,
                empty: "No other node is known. Add one with 'aisbf mesh peer add aisbf_node_…@host:port'.")
            let knocks = answer["knocks"]?.elements ?? []
            guard !output.json, !knocks.isEmpty else { return }
            let refused = TableLayout([
                ("NODE ID", "node_id"), ("OPERATOR ID", "operator_id"), ("FROM", "address"), ("TIMES", "count"),
                ("TO ADMIT IT", "admit"),
            ])
            Console.print("\nAsked for a link and are not admitted here:\n\(refused.table(knocks).text)")
        }
    }

    struct Providers: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Every provider in the mesh and where its workers are.")
        @OptionGroup var admin: AdminOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let layout = TableLayout(computed: [
                ("FULL NAME", { $0["full_name"]?.cell ?? "" }), ("KEY NAME", { $0["key_name"]?.cell ?? "" }),
                ("ACCESS", { $0["access"]?.cell ?? "" }),
                ("MODELS", { $0["models"]?.cell ?? "" }),
                ("ATTACHED AT", { $0["attachments"]?.elements.map(Self.attachment).joined(separator: ", ") ?? "" }),
            ])
            output.printList(
                try await admin.client().get("mesh/providers"), key: "providers", layout,
                empty: "No provider is known in this mesh.")
        }

        @Sendable private static func attachment(_ value: JSONValue) -> String {
            let name = value["node_name"]?.text ?? value["node_id"]?.text ?? "?"
            if value["usable"] == .bool(false) { return "\(name) (not usable)" }
            let details = [
                hardware(value["hardware"]), number(value["tokens_per_second"], "tok/s"),
                number(value["first_content_ms"], "ms to first content"),
            ].compactMap { $0 }
            return details.isEmpty ? name : "\(name) (\(details.joined(separator: "; ")))"
        }

        /// Such as `2 × NVIDIA RTX 4090, 48 GiB`.
        private static func hardware(_ value: JSONValue?) -> String? {
            guard let gpu = value?["gpu"]?.text, !gpu.isEmpty else { return nil }
            let count = value?["count"]?.cell ?? "1"
            let megabytes = Int64(value?["total_vram_mb"]?.cell ?? "0") ?? 0
            return (count == "1" ? gpu : "\(count) × \(gpu)") + (megabytes > 0 ? ", \(megabytes / 1_024) GiB" : "")
        }

        /// Nil where nothing was measured yet.
        private static func number(_ value: JSONValue?, _ unit: String) -> String? {
            guard let cell = value?.cell, let number = Int64(cell), number > 0 else { return nil }
            return "\(number) \(unit)"
        }
    }

    struct Records: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "The signed records the node holds.")
        @Option(help: "Only this type, such as ProviderAdvert.") var type: String?
        @OptionGroup var admin: AdminOptions
        @OptionGroup var output: OutputOptions

        func run() async throws {
            let query = type.map { "?type=\(AdminClient.segment($0))" } ?? ""
            let layout = TableLayout([
                ("KEY", "key"), ("TYPE", "type"), ("VERSION", "version"), ("SIGNER", "signer"), ("ISSUED", "issued_at"),
                ("EXPIRES", "expires_at"), ("BYTES", "bytes"), ("TOMBSTONE", "tombstone"),
            ])
            output.printList(
                try await admin.client().get("mesh/records\(query)"), key: "records", layout, empty: "No records.")
        }
    }

    struct Record: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "record", abstract: "One record.", subcommands: [Show.self])

        struct Show: AsyncParsableCommand {
            static let configuration = CommandConfiguration(abstract: "Show a record with its body and raw bytes.")
            @Argument(help: "The record key that 'aisbf mesh records' shows.") var key: String
            @OptionGroup var admin: AdminOptions
            @OptionGroup var output: OutputOptions

            func run() async throws {
                let answer = try await admin.client().get("mesh/records/\(AdminClient.segment(key))")
                output.printObject(
                    answer,
                    fields: [
                        ("key", "key"), ("type", "type"), ("version", "version"), ("signer", "signer"),
                        ("issued", "issued_at"), ("expires", "expires_at"), ("tombstone", "tombstone"), ("raw", "raw"),
                    ])
                if !output.json, let body = answer["body"] { Console.print("\n\(body.pretty)") }
            }
        }
    }
}
