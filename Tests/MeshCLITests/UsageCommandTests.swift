import Testing

@testable import MeshCLI

@Suite struct UsageCommandTests {
    @Test func valuesSeparatedByCommas() throws {
        let rows = try #require(
            JSONValue.parse(
                Array(
                    #"[{"model":"a, \"b\"","requests":3,"cost":{"USD":"0.5","EUR":"1"},"failed":{"worker_error":2}},{"model":"=cmd()","requests":1}]"#
                        .utf8))?.elements)
        let lines = UsageCommand.csv(rows, by: "model", seller: false).split(separator: "\n").map(String.init)
        #expect(lines.count == 3)
        #expect(lines[0].hasPrefix("model,requests,served,") && lines[0].hasSuffix(",cost,failed"))
        #expect(lines[1].hasPrefix(#""a, ""b""",3,"#) && lines[1].hasSuffix(",EUR 1; USD 0.5,worker_error 2"))
        #expect(lines[2].hasPrefix("'=cmd(),1,"))
    }
}
