import MeshModel
import Testing

/// What of a seller's words a buyer may read.
@Suite struct PublicWordsTests {
    @Test(arguments: [
        ("no connection to http://127.0.0.1:38119/v1: check", "no connection to (address): check"),
        ("connect ECONNREFUSED 127.0.0.1:8000", "connect ECONNREFUSED (address)"),
        ("connect ::1:8000 failed", "connect (address) failed"),
        ("dial tcp [fe80::1%eth0]:11434: refused", "dial tcp (address): refused"),
        ("Pool(host='10.0.0.4', port=8000): url: /api/tags", "Pool(host='(address)', port (hidden)): url: (path)"),
        ("lookup ollama.internal:11434 on localhost:53", "lookup (address) on (address)"),
        ("postgres://u:p@db.example.com/x is down", "(address) is down"),
        ("see https://u:p@example.com/x", "see (address)"), ("at https://example.com/x?key=abc.", "at (address)."),
        ("地址http://10.0.0.1/x", "地址(address)"),
    ])
    func addressesAreCut(text: String, cleaned: String) {
        #expect(PublicWords().cleaned(text) == cleaned)
    }

    @Test(arguments: [
        ("Incorrect API key provided: sk-seller.", "Incorrect API key provided: (secret)."),
        ("sk-proj-ab****wxyz and ab****cd", "(secret) and (secret)"),
        ("Authorization: Bearer abcdefghijk", "Authorization: Bearer (secret)"),
        ("hf_abcdef, gsk_12345678", "(secret), (secret)"), ("token aisbf_reg_abc234", "token (secret)"),
    ])
    func secretsAreCut(text: String, cleaned: String) {
        #expect(PublicWords().cleaned(text) == cleaned)
    }

    @Test(arguments: [
        ("open /srv/models/m.gguf: no such file", "open (path): no such file"),
        (#"File "/usr/lib/python3/x.py", line 12"#, #"File "(path)", line 12"#),
        (#"C:\models\x.gguf missing"#, "(path) missing"), ("cannot read ~/models", "cannot read (path)"),
    ])
    func pathsAreCut(text: String, cleaned: String) {
        #expect(PublicWords().cleaned(text) == cleaned)
    }

    @Test(arguments: [
        "", "the model org/model v1.2.3.4.5 takes text/plain and/or application/json at 12:30:45",
        "POST /v1/chat/completions needs max_tokens:4096, see https://platform.openai.com/account/api-keys.",
        "task-force, risk-free, desk-top, std::string, a </b>/x, 1/2, 100%, e.g. x; qwen2.5:7b", "日本語のエラー",
        "port of call",
        "the context is 8192 tokens, the request 9000.",
    ])
    func otherWordsStay(text: String) {
        #expect(PublicWords().cleaned(text) == text)
    }

    @Test func whatOnlyTheCallerKnowsIsCut() {
        let words = PublicWords(hiding: ["gpu-box", "http://gpu-box:11434/v1", "my-own-key", "", "x"])
        #expect(words.cleaned("GPU-BOX:11434/v1 is down, gpu-boxes are not") == "(address) is down, gpu-boxes are not")
        #expect(words.cleaned("http://gpu-box:11434/v1/models and my-own-key!") == "(address) and (address)!")
    }

    /// What a hostile worker says must not keep a node busy.
    @Test func hostileWordsCostLittle() {
        for piece in ["-.", "/.", "a:", "::", "[:", "http://", "sk-", "*", "~/", "1."] {
            let text = String(repeating: piece, count: 1_000)
            let took = ContinuousClock().measure { _ = PublicWords().cleaned(text) }
            #expect(took < .seconds(10), "\(piece)")
        }
    }
}
