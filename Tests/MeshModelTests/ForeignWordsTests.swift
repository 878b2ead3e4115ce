import MeshModel
import Testing

/// What others say, once it stands in this node's errors.
@Suite struct ForeignWordsTests {
    @Test(arguments: [
        ("CUDA out of memory", "CUDA out of memory"), ("", ""), ("  a \r\n\t b  ", "a b"),
        ("a\u{2028}b\u{85}c", "a b c"),
        ("\u{1B}[31mred\u{1B}[0m text", "red text"), ("\u{1B}]0;title\u{07}after", "after"),
        ("\u{1B}]8;;http://x\u{1B}\\link", "link"), ("\u{9B}2Jx", "x"), ("a\u{1B}", "a"), ("a\u{1B}[", "a"),
        ("a\u{0}\u{7F}\u{8}b", "ab"), ("\u{202E}gpj.exe\u{202C}", "gpj.exe"), ("a\u{200B}\u{2066}b\u{FEFF}", "ab"),
        ("x\u{E0041}y\u{F8FF}", "xy"), ("grün 北京 🚀 é", "grün 北京 🚀 é"),
    ])
    func onlyWhatCanBeRead(text: String, cleaned: String) { #expect(ForeignWords.cleaned(text) == cleaned) }

    @Test(arguments: [
        "sk-proj-abc", "sk-aisbf-aaaaaaaa", "aisbf_reg_abcdefgh", "hf_AbCdEfGh", "ghp_0123456789",
        "AKIAIOSFODNN7EXAMPLE",
        "eyJhbGciOiJIUzI1NiJ9.e30.x", "sk-sel**********************ler", "d41d8cd98f00b204e9800998ecf8427e",
    ])
    func keysAreHidden(key: String) {
        #expect(ForeignWords.cleaned("bad key: \(key), sorry") == "bad key: (secret), sorry")
        #expect(ForeignWords.cleaned("[\(key)]") == "[(secret)]")
        // Nothing that is taken out can hide it.
        let split = key.prefix(2) + "\u{200B}" + key.dropFirst(2)
        #expect(ForeignWords.cleaned("bad key: \(split), sorry") == "bad key: (secret), sorry")
        #expect(!ForeignWords.cleaned("Authorization: Bearer abcdefgh1").contains("abcdefgh1"))
    }

    @Test(arguments: [
        "this task-force disk-full risk-free", "model meta-llama/Llama-3.1-8B-Instruct-Q4_K_M is not loaded",
        "0192f6f0-7d6e-7c1a-9d57-3a3c8f0b2d41", "at 2026-11-28T10:00:00Z", "Basic authentication, a token count",
        "Pneumonoultramicroscopicsilicovolcanoconiosis",
    ])
    func ordinaryWordsStay(text: String) { #expect(ForeignWords.cleaned(text) == text) }

    @Test func lengthIsInBytesAndOfWholeCharacters() {
        #expect(ForeignWords.cleaned(String(repeating: "a ", count: 10_000)).utf8.count <= Limits.foreignWordsBytes)
        #expect(ForeignWords.cleaned("grün", limit: 3) == "gr")
        #expect(ForeignWords.cleaned("grün", limit: 4) == "grü")
        // A letter with a thousand accents is one character.
        let zalgo = "a" + String(repeating: "\u{301}", count: 1_000)
        #expect(ForeignWords.cleaned(zalgo + "b").utf8.count <= Limits.foreignWordsBytes)
    }

    /// What a hosting node may call a failure, code by code.
    @Test(arguments: ErrorCode.allCases)
    func codesOfAHost(code: ErrorCode) {
        let mayBeSaid: [ErrorCode] = [
            .accessDenied, .modelNotFound, .endpointNotOffered, .bodyTooLarge, .frameLimit, .rateLimited, .workerError,
            .workerBadAnswer, .workerUnavailable, .workerBusy, .workerLost, .workerTimeout, .draining,
            // What it knows of requests with a key that other entry nodes brought.
            .idempotencyInProgress, .idempotencyNoAnswer, .idempotencyKeyReused,
        ]
        let told = ErrorCode(ofHost: code.rawValue, hasUpload: false)
        switch code {
        case .misdirected, .forwardRefused: #expect(told == .nodeUnreachable)
        case _ where mayBeSaid.contains(code): #expect(told == code)
        default: #expect(told == .nodeError)
        }
        // Without a key there is nothing to say of one.
        let isAboutKey = code.rawValue.hasPrefix("idempotency_")
        #expect(ErrorCode(ofHost: code.rawValue, hasUpload: false, hasKey: false) == (isAboutKey ? .nodeError : told))
        let uploading = ErrorCode(ofHost: code.rawValue, hasUpload: true)
        #expect(uploading == (code == .requestTimeout ? .requestTimeout : told))
    }

    @Test(arguments: ["", "nothing", "WORKER_BUSY", "worker_busy\u{0}", " worker_busy"])
    func whatIsNoCodeIsTheNodesError(code: String) { #expect(ErrorCode(ofHost: code, hasUpload: true) == .nodeError) }

    @Test(arguments: [
        (nil, ErrorCode.workerError), ("", .workerError), ("busy", .workerBusy), ("overloaded", .workerBusy),
        ("draining", .workerUnavailable), ("backend_unreachable", .workerUnavailable),
        ("model_not_found", .modelNotFound), ("invalid_api_key", .workerError), ("node_draining", .workerError),
        ("backend_closed", .workerError), ("endpoint_not_offered", .endpointNotOffered),
    ])
    func codesOfAWorker(code: String?, told: ErrorCode) { #expect(ErrorCode(ofWorker: code) == told) }
}
