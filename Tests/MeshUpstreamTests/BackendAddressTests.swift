import MeshModel
import Testing

@testable import MeshUpstream

/// What is taken for the address of a server, and what is said of everything else.
@Suite struct BackendAddressTests {
    @Test(arguments: [
        ("http://127.0.0.1:11434/v1", "http://127.0.0.1:11434/v1"),
        ("https://api.example.com/v1/", "https://api.example.com/v1"),
        ("https://api.example.com", "https://api.example.com"),
        ("HTTPS://api.example.com//", "HTTPS://api.example.com"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
        ("https://h.example.com/a/b_c-1/v1", "https://h.example.com/a/b_c-1/v1"),
    ])
    func addressesLoseTheSlashAtTheirEnd(text: String, address: String) throws {
        let read = try BackendAddress(text)
        #expect(read.description == address)
    }

    @Test(arguments: [
        ("", "http"), ("api.example.com/v1", "http://"), ("ftp://h/v1", "http://"), ("file:///etc/passwd", "http://"),
        ("https:///v1", "host"), ("https://user@h/v1", "user name"), ("https://user:geheim@h/v1", "user name"),
        ("https://h/v1?key=geheim", "query"), ("https://h/v1#geheim", "fragment"), ("https://h/../v1", "segments"),
        ("https://h/a//v1", "segments"), ("https://h/a%2fb", "segments"), ("https://h/./v1", "segments"),
        ("https://h:99999/v1", "port"), ("https://h/v 1", "URL"), ("https://h/v1\nx", "URL"), ("https://h\\v1", "URL"),
        ("https://h/\(String(repeating: "a", count: 600))", "longer"),
    ])
    func othersAreRefusedInWordsWithoutWhatMayBeASecret(text: String, word: String) {
        let problem = #expect(throws: BackendAddress.Problem.self) { try BackendAddress(text) }
        #expect(problem?.words.contains(word) ?? false, "\(problem?.words ?? "taken")")
        #expect(problem?.words.contains("geheim") == false)
    }

    @Test func keysAreWhatAHeaderCanCarry() {
        #expect(BackendKey.problem("sk-0123456789_.~+/=") == nil)
        for text in [
            "", "a b", "a\nb", "schlüssel", "a\u{7F}", String(repeating: "k", count: Limits.upstreamKeyBytes + 1),
        ] {
            let problem = BackendKey.problem(text)
            #expect(problem != nil)
            #expect(text.count < 3 || problem?.contains(text) == false)
        }
    }
}
