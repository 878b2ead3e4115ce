import MeshModel
import MeshWire
import Testing

@Suite struct MultipartFormTests {
    static let boundary = Array("B".utf8)

    static func parts(_ body: String, _ boundary: String = "B") throws(MultipartError) -> [MultipartForm.Part] {
        try MultipartForm.parts(of: Array(body.utf8), boundary: Array(boundary.utf8))
    }

    static func failure(_ body: String, _ boundary: String = "B") -> MultipartError? {
        do throws(MultipartError) {
            _ = try parts(body, boundary)
            return nil
        } catch { return error }
    }

    /// One part with this content-disposition.
    static func body(_ disposition: String) -> String {
        "--B\r\nContent-Disposition: \(disposition)\r\n\r\nx\r\n--B--\r\n"
    }

    @Test(arguments: [
        ("multipart/form-data; boundary=abc", "abc"), ("multipart/form-data;boundary=abc", "abc"),
        ("Multipart/Form-Data ; BOUNDARY=\"a b:c\"", "a b:c"), ("multipart/form-data; charset=utf-8; boundary=x", "x"),
        ("multipart/form-data; boundary=\"x\"; charset=utf-8;", "x"),
        ("multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxk", "----WebKitFormBoundary7MA4YWxk"),
        ("multipart/form-data; boundary='()+_,-./:=?", "'()+_,-./:=?"),
        ("multipart/form-data; boundary=" + String(repeating: "a", count: 70), String(repeating: "a", count: 70)),
    ])
    func boundaryIsFound(type: String, boundary: String) {
        #expect(MultipartForm.boundary(contentType: type) == Array(boundary.utf8))
    }

    @Test(arguments: [
        "", "multipart/form-data", "multipart/mixed; boundary=a", "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\"\"", "multipart/form-data; boundary=\"a", "multipart/form-data boundary=a",
        "multipart/form-data; boundary=a; boundary=b", "multipart/form-data; boundary=\"a \"",
        "multipart/form-data; boundary=a{b", "multipart/form-data; boundary=\"ä\"", "multipart/form-datax; boundary=a",
        "multipart/form-data; boundary=\"a\\\"b\"", "multipart/form-data; boundary=a\r\n", "multipart/form-data; =a",
        "multipart/form-data; boundary=" + String(repeating: "a", count: 71), "application/json; boundary=a",
        "multipart/form-data; boundary=a" + String(repeating: " ", count: 9_000),
    ])
    func noBoundaryIsFound(type: String) { #expect(MultipartForm.boundary(contentType: type) == nil) }

    @Test(
        arguments: [
            // a browser
            (
                "WebKit",
                "--WebKit\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--WebKit\r\n"
                    + "Content-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\n"
                    + "RIFF\r\n\r\n--WebKi\r\n--WebKit--\r\n", ["model||whisper-1", "file|a.wav|RIFF\r\n\r\n--WebKi"]
            ),
            // Python's HTTP clients, header names in lower case and no line behind the last boundary
            (
                "7f0c",
                "--7f0c\r\ncontent-disposition: form-data; name=\"n\"\r\ncontent-length: 1\r\n\r\n4\r\n--7f0c--",
                ["n||4"]
            ),
            // preamble, epilogue, padding behind boundaries
            (
                "B",
                "preamble\r\n--B  \t\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--B-- \t\r\nepilogue\r\n--B\r\n",
                ["a||1"]
            ),
            // empty contents, with and without a line of their own
            ("B", "--B\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n--B--", ["a||"]),
            ("B", "--B\r\nContent-Disposition: form-data; name=a\r\n\r\n--B--", ["a||"]),
            // contents that end or begin like a delimiter
            (
                "B", "--B\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\r\n-\r\n--\r\r\n--B--",
                ["a||\r\r\n-\r\n--\r"]
            ),
            (
                "B", "--B\r\nContent-Disposition: form-data; name=a\r\n\r\n\n--B\n--B--\n\r\n--B--",
                ["a||\n--B\n--B--\n"]
            ),
            // no fields
            ("B", "--B--\r\n", []), ("B", "\r\n--B--", []),
            // the same name twice, and an empty one
            (
                "B",
                "--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--B\r\nContent-Disposition: form-data; name=\"\"\r\n"
                    + "\r\n2\r\n--B--", ["a||1", "||2"]
            ),
        ] as [(String, String, [String])])
    func bodies(boundary: String, body: String, expected: [String]) throws {
        let bytes = Array(body.utf8)
        let parts = try MultipartForm.parts(of: bytes, boundary: Array(boundary.utf8))
        let texts = parts.map { "\($0.name)|\($0.filename ?? "")|\(String(decoding: bytes[$0.range], as: UTF8.self))" }
        #expect(texts == expected)
    }

    @Test(
        arguments: [
            (#"form-data; name="a""#, "a", nil), ("FORM-DATA; NAME=a", "a", nil),
            (#"form-data;name=a;filename=b;"#, "a", "b"),
            (#"form-data; name="a"; filename="""#, "a", ""), (#"form-data; name="ä€😀""#, "ä€😀", nil),
            (#"form-data; name="a\"b""#, #"a"b"#, nil), (#"form-data; name="a%22b""#, #"a"b"#, nil),
            (#"form-data; name="a\\b""#, #"a\b"#, nil),
            (#"form-data; name="a"; filename="C:\dir\f.png""#, "a", #"C:\dir\f.png"#),
            (#"form-data; name="a;b=c""#, "a;b=c", nil), (#"form-data; name = "a" ; filename = "b""#, "a", "b"),
            (#"form-data; name="a"; filename="x"; filename*=UTF-8''%e2%82%ac%20rates"#, "a", "€ rates"),
            (#"form-data; name="a"; filename*=utf-8'en'b.txt; filename="x""#, "a", "b.txt"),
            (#"form-data; name="%0D%0A%2""#, "a", nil), (#"form-data; name="a"; size=3; x="\""; name2=b"#, "a", nil),
            (#"form-data;; name=a ;"#, "a", nil),
        ] as [(String, String, String?)])
    func dispositions(header: String, name: String, filename: String?) throws {
        let part = try #require(try Self.parts(Self.body(header)).first)
        // A percent sign stands for nothing but the quote.
        #expect(part.name == (header.contains("%0D") ? "%0D%0A%2" : name))
        #expect(part.filename == filename)
    }

    @Test(
        arguments: [
            (body("form-data"), .noName), (body("attachment; name=a"), .notFormData), (body(""), .notFormData),
            (body("form-data; name=\"a"), .malformedParameter), (body("form-data; name=a b"), .malformedParameter),
            (body("form-data; name=\"a\"b"), .malformedParameter), (body("form-data; name"), .malformedParameter),
            (body("form-data; name="), .malformedParameter), (body("form-data; =a"), .malformedParameter),
            (body("form-data name=a"), .malformedParameter), (body("form-data; name=a\"b\""), .malformedParameter),
            (body("form-data; name=a; name=b"), .repeatedParameter),
            (body("form-data; name=a; filename*=UTF-8''%4"), .malformedParameter),
            (body("form-data; name=a; filename*=UTF-8''%zz"), .malformedParameter),
            (body("form-data; name=a; filename*=ISO-8859-1''%E4"), .malformedParameter),
            (body("form-data; name=a; filename*=UTF-8'x"), .malformedParameter),
            (body("form-data; name=a; filename*=UTF-8''%ff"), .invalidText),
            (body("form-data; name=a; filename*=UTF-8''a%0d%0ab"), .invalidText),
            (body("form-data; name=\"a\0\""), .invalidText), (body("form-data; name=a\nX: y"), .bareLineFeed),
            (body("form-data; name=a\r"), .bareLineFeed), (body("form-data;\r\n name=a"), .malformedHeader),
            (body("form-data; name=a\r\nContent-disposition: form-data; name=b"), .repeatedHeader),
            (body("form-data; name=a\r\ncontent-type: a/b\r\nCONTENT-TYPE: a/b"), .repeatedHeader),
            (body("form-data; name=a\r\nno colon"), .malformedHeader),
            (body("form-data; name=a\r\n: x"), .malformedHeader),
            (body("form-data; name=a\r\na b: x"), .malformedHeader),
            (body("form-data; name=a\r\na : x"), .malformedHeader),
            (body("form-data; name=a\r\ncontent-transfer-encoding: base64"), .encodedContent),
            (body("form-data; name=a\r\nx: " + String(repeating: "y", count: 8_192)), .headersTooLong),
            ("--B\r\n\r\nx\r\n--B--", .noDisposition), ("--B\r\nContent-Type: a/b\r\n\r\nx\r\n--B--", .noDisposition),
            ("", .noBoundary), ("x", .noBoundary), ("--C--", .noBoundary), ("x--B--", .noBoundary),
            ("\n--B--", .noBoundary),
            ("--B", .notClosed), ("--B-", .badBoundaryLine), ("--B\r", .notClosed), ("--B\r\n", .notClosed),
            ("--B\n", .bareLineFeed), ("--B\rx", .bareLineFeed), ("--BB\r\n", .badBoundaryLine),
            ("--B x", .badBoundaryLine),
            ("--B--x", .badBoundaryLine), ("--B--\n", .bareLineFeed), ("--B--\r", .bareLineFeed),
            ("--B\r\nContent-Disposition: form-data; name=a\r\n\r\nx", .notClosed),
            ("--B\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--B\r\n", .notClosed),
            ("--B\r\nContent-Disposition: form-data; name=a", .notClosed),
            ("--B\r\n--B--\r\n", .malformedHeader),
            ("--B\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--Bx\r\n--B--\r\n", .badBoundaryLine),
        ] as [(String, MultipartError)])
    func refusals(body: String, error: MultipartError) { #expect(Self.failure(body) == error) }

    @Test func namesMustBeUTF8() {
        for broken in [[0xFF], [0xC3], [0xED, 0xA0, 0x80], [0xC0, 0xAF]] as [[UInt8]] {
            let body =
                Array("--B\r\nContent-Disposition: form-data; name=\"".utf8) + broken
                + Array("\"\r\n\r\n\r\n--B--".utf8)
            #expect(throws: MultipartError.invalidText) {
                try MultipartForm.parts(of: body, boundary: Self.boundary)
            }
        }
    }

    @Test(arguments: ["", "a\r\n", " ", "a ", "ä", String(repeating: "a", count: 71)])
    func boundariesThatAreNone(boundary: String) {
        #expect(Self.failure("--\(boundary)--", boundary) == .invalidBoundary)
    }

    @Test func partsAreBounded() throws {
        func body(_ count: Int) -> String {
            String(repeating: "--B\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n", count: count) + "--B--"
        }
        #expect(try Self.parts(body(Limits.multipartParts)).count == Limits.multipartParts)
        #expect(Self.failure(body(Limits.multipartParts + 1)) == .tooManyParts)
    }

    @Test(arguments: MultipartError.allCases) func everyRefusalIsSaidInWords(error: MultipartError) {
        #expect(error.description.contains(" ") && error.description != error.rawValue)
    }
}
