import MeshModel
import Testing

@Suite struct ImportedTokenTextTests {
    @Test(
        arguments: [
            ("sixteen-letters!", nil), ("fifteen-letters", .tooShort), ("", .tooShort),
            // Sixteen bytes, eight characters.
            (String(repeating: "é", count: 8), .tooShort),
            (String(repeating: "é", count: 16), nil),
            (String(repeating: "x", count: 512), nil), (String(repeating: "x", count: 513), .tooLong),
            ("with inner spaces is fine", nil), (" leading-white-space", .notPrintable),
            ("trailing-white-space ", .notPrintable), ("a-line\nbreak-inside-it", .notPrintable),
            ("a-nul-\u{0}-inside-of-it", .notPrintable), ("a-delete-\u{7F}-inside-it", .notPrintable),
            ("aisbf_reg_whatever-it-is", .ours(.registrationToken)), ("sk-aisbf-whatever-it-is", .ours(.apiKey)),
            ("aisbf_reg", .tooShort), ("aisbf_registration_token", nil),
        ] as [(String, ImportedTokenText.Problem?)])
    func problems(text: String, problem: ImportedTokenText.Problem?) {
        #expect(ImportedTokenText.problem(text) == problem)
        // What is said of it is not the token.
        if let problem, text.utf8.count > 9 { #expect(!problem.message.contains(text)) }
    }
}
