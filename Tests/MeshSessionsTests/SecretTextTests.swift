import MeshSessions
import Testing

@Suite struct SecretTextTests {
    @Test(arguments: [
        ("", "", true), ("secret", "secret", true), ("secret", "secreT", false), ("Xecret", "secret", false),
        ("secret", "secret ", false), ("secret", "", false), ("", "s", false),
        // The same character in two spellings is one string to `==`, and two secrets.
        ("caf\u{E9}", "cafe\u{301}", false),
    ])
    func sameBytes(left: String, right: String, isSame: Bool) {
        #expect(SecretText.isSame(left, right) == isSame)
    }
}
