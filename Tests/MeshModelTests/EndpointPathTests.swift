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
        "/v1/files/" + String(repeating: "x", count: 256), "/v1/images/...", "/v1/images/..../admin",
        "/v1/images/%252e%252e/admin", "/v1/images/..%5cadmin", "/v1/images/%2e%2e%2fadmin", "/v1/images;v=1/edits",
        "/v1/images/edits;params", "/v1/images/..;/admin", "/v1/images/%c0%ae%c0%ae/admin", "/v1/images%ef%bc%8fadmin",
        "/v1/images/\u{FF0E}\u{FF0E}/admin", "/v1/images\u{FF0F}admin", "/v1/images/%00", "/v1/images/a%00.png",
        "/ADMIN", "/v1/ADMIN", "/V1/images", "/v1/IMAGES", "/v1/Static/x", "/v1/images/..\\admin",
    ])
    func everythingElseIsRefused(text: String) { #expect(EndpointPath(text) == nil) }

    /// As a route gets them: decoded once, so that what was escaped twice is an escape still.
    @Test(arguments: [
        ["images", "%2e%2e", "admin"], ["images", "..%5cadmin"], ["images", "..\\admin"], ["images", "..", "admin"],
        ["images", "...", "admin"], ["images", "a/../../admin"], ["images", "..;x=1", "admin"], ["images", "a;b"],
        ["images", "\u{FF0F}admin"], ["images", "\u{FFFD}"], ["images", "\u{0}"], ["images", ""], ["", "images"],
        ["ADMIN"], ["Images"], ["admin"], ["static", "x"], [],
    ])
    func decodedSegmentsAreJudgedAlike(segments: [String]) { #expect(EndpointPath(segments: segments) == nil) }

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
        // A wildcard is a whole segment; within a name the same characters are themselves.
        ("/v1/pipelines/run:x", ["v1/pipelines/run:x"], true),
        ("/v1/pipelines/runANYTHING", ["v1/pipelines/run:x"], false),
        ("/v1/pipelines/run", ["v1/pipelines/run:x", "v1/pipelines/run*", "v1/pipelines/run{x}"], false),
        (
            "/v1/pipelines/runx", ["v1/pipelines/run*", "v1/pipelines/*x", "v1/pipelines/{x}x", "v1/pipelines/{x"],
            false
        ),
        ("/v1/pipelines/run/steps", ["v1/pipelines/:id/steps"], true),
        ("/v1/pipelines/run/steps/1", ["v1/pipelines/{id}/steps/*"], true),
        ("/v1/pipelines", ["v1/pipelines/*"], false),
    ])
    func whatIsOffered(path: String, endpoints: [String], isOffered: Bool) throws {
        #expect(try #require(EndpointPath(path)).isOffered(by: endpoints) == isOffered)
    }
}
