import MeshCLI
import Testing

@Suite struct AdminClientTests {
    @Test func anAnswerIsReadThroughTheSocket() async throws {
        let node = try await FakeAdmin(status: 200, body: #"{"path":"PATH","links":2}"#)
        let answer = try await AdminClient(.socket(node.socket)).get("status")
        #expect(answer["path"]?.text == "/api/admin/v1/status")
        #expect(answer["links"]?.int == 2)
        try await node.stop()
    }

    @Test func aRefusalIsToldInTheNodesWords() async throws {
        let node = try await FakeAdmin(status: 404, body: #"{"error":{"message":"there is no user 'x'","code":"not_found"}}"#)
        await #expect(throws: CommandFailure("there is no user 'x'")) {
            try await AdminClient(.socket(node.socket)).get("users")
        }
        try await node.stop()
    }

    @Test func aConflictOnCreateIsNoFailure() async throws {
        let node = try await FakeAdmin(status: 409, body: #"{"error":{"message":"it exists"}}"#)
        #expect(try await AdminClient(.socket(node.socket)).create("users", .object([:])) == nil)
        try await node.stop()
    }

    @Test func anAnswerThatIsNoJSONIsAFailure() async throws {
        let node = try await FakeAdmin(status: 200, body: "<html>")
        await #expect(throws: CommandFailure.self) { try await AdminClient(.socket(node.socket)).get("status") }
        try await node.stop()
    }

    @Test(arguments: [AdminClient.Target.socket("/tmp/aisbf-nowhere/admin.sock"), .url("http://127.0.0.1:1", key: "k")])
    func aNodeThatIsNotThereIsExitCode69(target: AdminClient.Target) async throws {
        do {
            _ = try await AdminClient(target).get("status")
            Issue.record("something answered")
        } catch let failure as CommandFailure {
            #expect(failure.exitCode == 69)
            #expect(failure.message.contains("Is the node running?"))
        }
    }

    @Test func segmentsAreEscaped() {
        #expect(AdminClient.segment("a/b?c d.e-f_g~") == "a%2Fb%3Fc%20d.e-f_g~")
    }

    @Test func tablesAlignAndHideControlCharacters() {
        let table = Table(["NAME", "X"], rows: [["ab\u{1B}[31m", "1"], ["c", ""]])
        #expect(table.text == "NAME     X\nab?[31m  1\nc")
    }

    @Test func jsonIsPrintedAsItCame() {
        let text = #"{"a":[1,2.5,true,null,"x/y"],"b":{}}"#
        #expect(JSONValue.parse(Array(text.utf8))?.compact == text)
        #expect(JSONValue.parse(Array("{".utf8)) == nil)
    }
}
