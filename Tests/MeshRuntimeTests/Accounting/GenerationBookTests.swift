import MeshModel
import MeshRuntime
import Testing

@Suite struct GenerationBookTests {
    private func generation(_ request: String, _ answer: String? = nil, of username: String = "bob") -> Generation {
        Generation(
            requestID: request, answerID: answer, username: username, at: Timestamp(milliseconds: 0), model: "m",
            provider: "p", node: "n", cost: nil, promptTokens: 1, cachedTokens: 0, completionTokens: 1,
            isEstimated: false, firstContentMs: nil, durationMs: 1, isStreamed: false, isCancelled: false,
            finishReason: nil, status: 200, attempts: 1)
    }

    @Test func bothIDsLeadToIt() {
        let book = GenerationBook()
        book.add(generation("r1", "a1"))
        #expect(book.find("r1", of: "bob")?.answerID == "a1")
        book.add(generation("r2", "a2", of: "eve"))
        #expect(book.find("a2", of: nil)?.requestID == "r2")
        #expect(book.find("a2", of: "bob") == nil && book.find("a1", of: "bob") != nil)
        #expect(book.find("r3", of: nil) == nil)
    }

    /// A backend that gives one id twice: the later answer is found, also when the earlier one is forgotten.
    @Test func theOldestAreForgotten() {
        let book = GenerationBook()
        book.add(generation("first", "same"))
        #expect(book.find("same", of: nil)?.requestID == "first")
        for number in 1..<Limits.generations { book.add(generation("r\(number)", number == 1 ? "same" : nil)) }
        #expect(book.find("first", of: nil) != nil)
        book.add(generation("last"))
        #expect(book.find("first", of: nil) == nil)
        #expect(book.find("same", of: nil)?.requestID == "r1")
        book.add(generation("more"))
        #expect(book.find("same", of: nil) == nil && book.find("r1", of: nil) == nil)
        #expect(book.find("r2", of: nil) != nil && book.find("more", of: nil) != nil)
        // Forgotten before anybody asked.
        for number in 0...Limits.generations { book.add(generation("s\(number)", "t\(number)")) }
        #expect(book.find("t0", of: nil) == nil && book.find("t1", of: nil) != nil)
    }
}
