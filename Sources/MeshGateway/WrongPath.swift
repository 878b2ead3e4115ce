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
        if path.first == "api", ["chat", "generate", "embed", "embeddings"].contains(path.dropFirst().first) {
            return MeshError(
                .notFound,
                "this node does not speak Ollama's API; it speaks OpenAI's: set the client's base URL to this node's, ending in /v1"
            )
        }
        return nil
    }
}
