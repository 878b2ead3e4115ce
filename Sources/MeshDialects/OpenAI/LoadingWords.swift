import MeshModel

/// How backends say that they are not ready yet: the model is being read into memory. Nothing was done, nobody is at fault,
/// and in a moment it is otherwise. There is no code for it; llama.cpp, vLLM, TGI and hosted endpoints have sentences of
/// their own.
package enum LoadingWords {
    /// - Parameter status: of the answer; nil for words without one.
    package static func tell(_ words: String, status: Int?) -> Bool {
        guard status == nil || status == 503 else { return false }
        let text = words.cut(toUTF8Bytes: Limits.errorWordsBytes).lowercased()
        return sentences.contains(where: text.contains)
    }

    private static let sentences = [
        "loading model", "loading the model", "model is loading", "currently loading", "still loading", "being loaded",
        "model is not loaded yet", "warming up", "model is starting", "server is starting",
    ]
}
