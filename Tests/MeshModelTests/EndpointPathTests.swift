import MeshModel
import Testing

@Suite struct EndpointPathTests {
    @Test(arguments: [
        "/v1/embeddings", "/v1/images/generations", "/v1/files/file-1_a.b~c/content", "/v1/video/jobs/2024:11@x+y=z,1",
    ])
    func dataPathsAreTaken(text: String) { #expect(EndpointPath(text)?.text == text) }

    @Test(arguments: [
        "", "/", "/v1", "/v1/", "/v1/admin", "/admin", "/static/x", "/v1/models", "/v1/chat/completions", "/v2/images",
        "/v1/images/..", "/v1/images/../../admin", "/v1/./images", "/v1/images/", "/v1//images", "/v1/images//x",
        "/v1/images/%2e%2e/admin", "/v1/images/a b", "/v1/images/a?b", "/v1/images/a#b", "/v1/images/a\\b",
        "/v1/images/a;b", "/v1/images/ä", "/v1/images/a\u{0}", "v1/images", "/v1/Images", "/v1/files/1/2/3/4/5/6/7/8",
        "/v1/files/" + String(repeating: "x", count: 256),
    ])
    func everythingElseIsRefused(text: String) { #expect(EndpointPath(text) == nil) }

    @Test(arguments: [
        ("/v1/images/edits", ["v1/images/edits"], true), ("/v1/images/edits", ["/v1/images/edits/"], true),
        ("/v1/images/edits", ["v1/images"], true), ("/v1/images/edits", ["v1/image"], false),
        ("/v1/images", ["v1/images/edits"], false), ("/v1/files/f1/content", ["v1/files/{id}/content"], true),
        ("/v1/files/f1", ["v1/files/:id"], true), ("/v1/files/f1/x", ["v1/*/f1"], false),
        ("/v1/files/f1/x", ["v1/*", "v1/{x}", "v1/:x"], false),
        ("/v1/files/f1/x", ["v1/files/*/x"], true), ("/v1/images/editsx", ["v1/images/edits"], false),
        ("/v1/files/f1", ["v1/files/{id}/content"], false), ("/v1/images/edits", ["v1"], false),
        ("/v1/images/edits", ["", "/", "v1/"], false), ("/v1/images/edits", [], false),
        ("/v1/images/edits", ["v2/images"], false),
    ])
    func whatIsOffered(path: String, endpoints: [String], isOffered: Bool) throws {
        #expect(try #require(EndpointPath(path)).isOffered(by: endpoints) == isOffered)
    }
}
