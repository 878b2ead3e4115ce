import MeshModel

/// Paths that clients ask for by mistake, and what to tell them.
enum WrongPath {
    /// Nil for paths that are no known mistake.
    static func error(_ segments: [String]) -> MeshError? {
        // Whatever a base URL was given with: `/v1`, `/api/v1`, `/api/u/name` or nothing.
        let path = BuyerPath.strip(segments)?.path ?? segments
        if path.first == "v1" || path.starts(with: ["api", "v1"]) {
            return MeshError(
                .notFound,
                "this path has '/v1' twice: the client's base URL ends in /v1 already, and the client adds one of its own; leave it out of one of them"
            )
        }
        if path.first == "messages" {
            return MeshError(
                .notFound,
                "this node does not speak Anthropic's API; it speaks OpenAI's: POST /v1/chat/completions, with GET /v1/models for the models there are"
            )
        }
        if path.first == "api", ["chat", "generate", "tags", "embed", "embeddings"].contains(path.dropFirst().first) {
            return MeshError(
                .notFound,
                "this node does not speak Ollama's API; it speaks OpenAI's: set the client's base URL to this node's, ending in /v1"
            )
        }
        if BuyerPath.strip(segments) == nil, isRoute(path) {
            return MeshError(
                .notFound,
                "there is nothing at this path; the API is under /v1: set the client's base URL to this node's, ending in /v1"
            )
        }
        return nil
    }

    private static func isRoute(_ path: [String]) -> Bool {
        path == ["chat", "completions"] || path.first == "models" || EndpointPath(segments: path) != nil
    }
}
