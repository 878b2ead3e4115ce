import MeshDialects
import MeshModel
import MeshWire
import Testing

@Suite struct TokenEstimateTests {
    /// What vocabularies in use count for each: the least and the most of o200k, Qwen's, DeepSeek's and Mistral's.
    static let counted: [(text: String, least: Int64, most: Int64)] = [
        ("The quick brown fox jumps over the lazy dog, and nobody in the village seemed to mind very much.", 21, 21),
        (
            "A node keeps what it first learnt of a name; somebody who comes later under the same name has to be accepted by its operator.",
            27, 27
        ),
        (
            "func cost(of use: PricedUse) -> Money {\n    let cached = min(max(use.cachedTokens, 0), use.inputTokens)\n    return Money(microUnits: total / 1_000_000, currency: currency)\n}\n",
            50, 57
        ),
        (
            "for item in sorted(items, key=lambda x: x['name']):\n    if item.get('enabled', True):\n        print(f\"{item['name']}: {item['value']:.2f}\")\n",
            41, 43
        ),
        (
            "{\"type\":\"function\",\"function\":{\"name\":\"get_weather\",\"description\":\"The weather of a city\",\"parameters\":{\"type\":\"object\",\"properties\":{\"city\":{\"type\":\"string\"},\"days\":{\"type\":\"integer\",\"minimum\":1}},\"required\":[\"city\"]}}}",
            50, 53
        ),
        ("今天天气很好，我们一起去公园散步，然后在湖边的小店里喝一杯热茶。", 18, 31),
        ("明日の会議は午後三時から始まりますので、資料を事前に確認しておいてください。", 24, 27),
        ("내일 회의는 오후 세 시에 시작하니 자료를 미리 확인해 주시기 바랍니다.", 22, 27),
        ("Завтра совещание начнётся в три часа дня, поэтому, пожалуйста, заранее ознакомьтесь с материалами.", 26, 36),
        (
            "Die Besprechung beginnt morgen um drei Uhr nachmittags; bitte lesen Sie die Unterlagen vorher durch.", 22,
            28
        ),
        (
            "La réunion commencera demain à trois heures de l'après-midi ; merci de lire les documents auparavant.", 20,
            30
        ),
        (
            "SELECT u.name, count(*) FROM users u JOIN orders o ON o.user_id = u.id WHERE o.total > 100 GROUP BY u.name ORDER BY 2 DESC LIMIT 10;",
            38, 41
        ),
        (
            "2026-11-29T09:31:04Z INFO request.id=req_8f2c41 model=qwen3-coder-30b latency_ms=812 tokens=1452 status=200",
            43, 60
        ),
        (
            "| name | value | bounds |\n|---|---|---|\n| `highestPrice` | 1,000,000 | a price of one |\n| `advertPrices` | 32 | entries in one advert |\n",
            44, 54
        ),
    ]

    @Test(arguments: [
        ("", 0), ("a", 1), ("Hello, world!", 4), ("   ", 2), ("\n\n", 0), ("0123456789", 8),
        ("internationalisation", 7), ("if (a == b) {\n    return\n}", 10), ("你好世界", 3), ("🙂", 2), ("é", 1),
    ])
    func kindsOfCharactersCount(text: String, tokens: Int64) {
        #expect(TokenEstimate.tokens(of: text) == tokens)
    }

    @Test(arguments: counted.indices)
    func theEstimateIsNear(index: Int) {
        let (text, least, most) = Self.counted[index]
        let estimate = TokenEstimate.tokens(of: text)
        #expect(estimate * 100 >= least * 70 && estimate * 100 <= most * 135, "\(estimate) for \(least)...\(most)")
    }

    /// Some programs write every letter that is not English as an escape: the same text, the same estimate.
    @Test func escapesCountAsWhatTheyMean() {
        var random = SeededGenerator(seed: 8)
        let letters = Array("aZ0 \n\t\"\\/{}éßЖΩ日本語한국어ไทยعربية🙂—.,_".unicodeScalars)
        for _ in 0..<300 {
            var text = String.UnicodeScalarView()
            for _ in 0..<40 { text.append(letters[Int(random.next() % UInt64(letters.count))]) }
            var escaped = ""
            for unit in String(text).utf16 {
                let hex = String(unit, radix: 16)
                escaped += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
            }
            let plain = TokenEstimate.tokens(of: String(text))
            #expect(Self.escaped(Array(escaped.utf8)) == plain)
            #expect(Self.escaped(Array(JSONText.quoted(String(text)).dropFirst().dropLast())) == plain)
        }
    }

    private static func escaped(_ bytes: [UInt8]) -> Int64 {
        bytes.withUnsafeBytes { raw in
            var estimate = TokenEstimate()
            estimate.addEscaped(raw, 0..<raw.count)
            return estimate.tokens
        }
    }

    /// Whatever bytes come: none traps, and more is never less.
    @Test func anyBytesAreCounted() {
        var random = SeededGenerator(seed: 21)
        for _ in 0..<2_000 {
            let bytes = (0..<Int(random.next() % 64)).map { _ in UInt8(truncatingIfNeeded: random.next() >> 13) }
            bytes.withUnsafeBytes { raw in
                var estimate = TokenEstimate()
                var last: Int64 = 0
                for cut in 0...raw.count {
                    estimate = TokenEstimate()
                    estimate.add(raw, 0..<cut)
                    #expect(estimate.tokens >= 0)
                    last = max(last, estimate.tokens)
                }
                estimate.addEscaped(raw, 0..<raw.count)
                #expect(estimate.tokens >= last)
            }
        }
    }
}

@Suite struct PromptReadingTests {
    private func facts(_ body: String) throws -> PromptFacts {
        let bytes = Array(body.utf8)
        let result: Result<PromptFacts, any Error> = bytes.withUnsafeBytes { raw in
            Result { PromptReading.facts(try JSONScanner.fields(of: raw), in: raw) }
        }
        return try result.get()
    }

    private static let hello = TokenEstimate.tokens(of: "Hello there.")

    @Test(arguments: [
        #"{"messages":[{"role":"user","content":"Hello there."}]}"#,
        #"{"messages":[{"role":"user","content":[{"type":"text","text":"Hello there."}]}]}"#,
        #"{"input":[{"role":"user","content":[{"type":"input_text","text":"Hello there."}]}]}"#,
        #"{"messages":[{"content":"Hello there.","tool_call_id":"call_1234567890","role":"tool"}]}"#,
        #"{"messages":[{"\u0072ole":"user","content":"Hello there."}]}"#,
    ])
    func aMessageIsItsTextAndFour(body: String) throws {
        let tokens = try facts(body).tokens
        #expect((Self.hello + 4...Self.hello + 5).contains(tokens))
    }

    @Test(arguments: [#"{"prompt":"Hello there."}"#, #"{"input":"Hello there.","user":"not counted at all"}"#])
    func aPlainPromptIsItsText(body: String) throws { #expect(try facts(body).tokens == Self.hello) }

    @Test func systemToolsAndCallsCount() throws {
        let plain = try facts(#"{"messages":[{"role":"user","content":"x"}]}"#).tokens
        let tools = #"[{"type":"function","function":{"name":"look_up","parameters":{"type":"object"}}}]"#
        #expect(try facts(#"{"messages":[{"role":"user","content":"x"}],"tools":\#(tools)}"#).tokens > plain + 15)
        let call =
            #"{"role":"assistant","tool_calls":[{"id":"a","function":{"name":"f","arguments":"{\"city\":\"Rome\"}"}}]}"#
        #expect(try facts(#"{"messages":[{"role":"user","content":"x"},\#(call)]}"#).tokens > plain + 8)
        #expect(try facts(#"{"system":[{"type":"text","text":"Be brief."}],"messages":[]}"#).tokens > 4)
    }

    @Test func whatIsUsedIsTold() throws {
        let facts = try facts(
            """
            {"model":"m","messages":[],"tools":[],"temperature":0.2,"seed":null,"max_tokens":100,"max_completion_tokens":300,
             "response_format":{"type":"json_schema","json_schema":{}},"user":"u"}
            """)
        #expect(facts.longestAnswer == 300)
        #expect(
            Set(facts.parameters.names)
                == [
                    "tools", "temperature", "max_tokens", "max_completion_tokens", "response_format",
                    "structured_outputs",
                ])
    }

    @Test func picturesAreFlatOrBySize() throws {
        func picture(_ rest: String) -> String {
            #"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{\#(rest)}}]}]}"#
        }
        let far = try facts(picture(#""url":"https://example.net/a.jpg""#))
        #expect(far.images == 1 && far.modalities == [.image] && (1_004...1_006).contains(far.tokens))
        let low = try facts(picture(#""url":"https://example.net/a.jpg","detail":"low""#))
        #expect((89...91).contains(low.tokens))
        // 900 by 600 dots: 720 tokens. What follows is not looked at.
        let head: [UInt8] =
            [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A, 0, 0, 0, 13, 0x49, 0x48, 0x44, 0x52] + [0, 0, 3, 0x84]
            + [0, 0, 2, 0x58]
        let data = String(decoding: Base64.text(head + Array(repeating: 7, count: 30_000)), as: UTF8.self)
        let near = try facts(picture(#""url":"data:image/png;base64,\#(data)""#))
        #expect((724...726).contains(near.tokens))
        let anthropic = try facts(
            #"{"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"\#(data)"}}]}]}"#
        )
        #expect((724...726).contains(anthropic.tokens) && anthropic.modalities == [.image])
    }

    @Test(arguments: [
        (#"{"type":"input_audio","input_audio":{"data":"AAAA","format":"wav"}}"#, Modalities.audio),
        (#"{"type":"file","file":{"file_data":"data:application/pdf;base64,AAAA","filename":"a.pdf"}}"#, .file),
        (#"{"type":"video_url","video_url":{"url":"https://example.net/a.mp4"}}"#, .video),
        (#"{"type":"input_image","image_url":"https://example.net/a.png"}"#, .image),
        (#"{"type":"text","text":"x"}"#, Modalities()),
    ])
    func kindsOfContentAreSeen(part: String, modality: Modalities) throws {
        #expect(try facts(#"{"messages":[{"role":"user","content":[\#(part)]}]}"#).modalities == modality)
    }

    /// Random documents: nothing traps, and a longer text is never fewer tokens.
    @Test func anyDocumentIsRead() throws {
        var random = SeededGenerator(seed: 5)
        func value(_ depth: Int) -> JSONValue {
            let names = ["type", "text", "content", "url", "image_url", "role", "detail", "data", "source", "x"]
            func name() -> String { names[Int(random.next() % UInt64(names.count))] }
            switch random.next() % (depth > 5 ? 3 : 6) {
            case 0: return .string(["image_url", "low", "data:", "iVBORw0KGgo\"\\\u{1}", "Ж🙂"][Int(random.next() % 5)])
            case 1: return .integer(Int64(bitPattern: random.next()))
            case 2: return .boolean(random.next() % 2 == 0)
            case 3: return .array((0..<random.next() % 4).map { _ in value(depth + 1) })
            default: return .object((0..<random.next() % 5).map { _ in .init(name(), value(depth + 1)) })
            }
        }
        for _ in 0..<2_000 {
            let body = JSONValue.object([.init("messages", value(0)), .init("max_tokens", value(4))])
            let tokens = try facts(String(decoding: body.bytes, as: UTF8.self)).tokens
            #expect(tokens >= 0)
        }
    }
}
