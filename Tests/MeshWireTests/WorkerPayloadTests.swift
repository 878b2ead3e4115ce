import MeshModel
import MeshWire
import Testing

/// What a hosting node takes from an entry node that is linked, signs well, and wants something else than it may.
@Suite struct WorkerPayloadTests {
    private static func read(
        _ text: String, _ operation: WorkerOperation = .proxy, hasUpload: Bool = false
    ) throws(MeshError) -> WorkerPayload {
        let read = Array(text.utf8).withUnsafeBytes { raw -> Result<WorkerPayload, MeshError> in
            do throws(MeshError) {
                return .success(try WorkerPayload.read(raw, operation, hasUpload: hasUpload))
            } catch { return .failure(error) }
        }
        return try read.get()
    }

    /// A proxied request with `more` behind the fields that all of them have.
    private static func proxy(
        _ more: String = "", path: String = "/v1/images/edits", method: String = "POST", headers: String = "{}",
        query: String = "{}"
    ) -> String {
        #"{"endpoint_path":"\#(path)","method":"\#(method)","headers":\#(headers),"query_params":\#(query),"stream":false"#
            + more + "}"
    }

    private static func isRefused(_ text: String, _ operation: WorkerOperation = .proxy, hasUpload: Bool = false)
        -> Bool
    {
        do throws(MeshError) {
            _ = try read(text, operation, hasUpload: hasUpload)
            return false
        } catch { return error.code == .invalidJSON }
    }

    @Test(arguments: [
        "/admin", "/admin/models", "/static/x", "/coderai/capabilities", "/v1/admin", "/v1/coderai/capabilities",
        "/v1/images/../admin", "/v1/images/%2e%2e/admin", "/v1/images/edits/..", "/v1/images//edits",
        "/v1/images/edits/",
        "/v1/images/edits?x=1", "/v1/images/edits#x", "/v1/images/edits;x", "/v1/images\\\\admin", "/v1/", "/v1", "",
        "v1/images/edits", "//v1/images/edits", "http://127.0.0.1/v1/images", "/v1/images/\\u002e\\u002e/admin",
        "/v1/chat/completions", "/v1/models", "/V1/images/edits", "/v1/images/ed its", "/v1/images/edits\\u0000",
    ])
    func pathsThatNoBuyerReachesAreRefused(path: String) { #expect(Self.isRefused(Self.proxy(path: path))) }

    @Test(arguments: [
        // A field twice, however it is spelled: a worker might read the other one.
        #","endpoint_path":"/admin""#, #","endpoint\u005fpath":"/admin""#, #","method":"DELETE""#,
        #","headers":{"cookie":"a"}"#, #","model":"a","model":"b""#, #","body":{},"body":{}"#, #","stream":true"#,
        // Fields nobody knows.
        #","url":"http://127.0.0.1/admin""#, #","registration_token":"x""#, #","op":"register""#,
        // Two bodies.
        #","body":{},"body_base64":"AAE=""#, #","body":{},"multipart":{"fields":[],"files":[]}"#,
        #","multipart":{"fields":[],"files":[]},"body_base64":"AAE=""#,
        // Another model in the body than the one the request is judged by.
        #","model":"m1","body":{"model":"m2"}"#, #","body":{"model":"m2"}"#,
        #","model":"m1","body":{"model":"m1","model":"m2"}"#, #","model":"m1","body":{"mod\u0065l":"m2"}"#,
        #","model":"m1","body":{"model":["m1"]}"#, #","body":[]"#, #","body":"text""#,
        #","model":"m1","body":{"Model":"m2"}"#, #","model":"m1","body":{"model":"m1","MODEL":"m2"}"#,
        #","model":["m1"],"body":{}"#,
        // JSON that a reader of forms would find another model in, forms and JSON that go as bytes.
        #","model":"m1","content_type":"application/x-www-form-urlencoded","body":{"model":"m1","x":"&model=m2"}"#,
        #","model":"m1","content_type":"application/x-www-form-urlencoded","body_base64":"bW9kZWw9bTI=""#,
        #","model":"m1","content_type":"multipart/form-data; boundary=b","body_base64":"AAE=""#,
        #","model":"m1","content_type":"application/json","body_base64":"AAE=""#,
        #","model":"m1","body_base64":"AAE=""#,
        // {"model":"m2"} in UTF-8, behind spaces and a byte order mark, and in UTF-16.
        #","model":"m1","content_type":"audio/wav","body_base64":"eyJtb2RlbCI6Im0yIn0=""#,
        #","model":"m1","content_type":"text/plain","body_base64":"77u/DQogIHsibW9kZWwiOiJtMiJ9""#,
        #","model":"m1","content_type":"text/plain","body_base64":"AHsAIgBtAG8AZABlAGwAIgA6""#,
        #","model":"m1","content_type":"audio/wav","body_base64":"eyJ\u0074""#,
        #","model":"m1","content_type":"audio/wav","body_base64":7"#,
        // Line breaks in what becomes a header.
        #","content_type":"application/json\r\nx: y","body":{}"#, #","content_type":7,"body":{}"#,
        #","content_type":"audio/wav\nx: y","body_base64":"AAE=""#, #","content_type":"a\u0000b","body_base64":"AAE=""#,
        // An upload where none follows.
        #","content_type":"audio/wav","upload":{}"#,
    ])
    func fieldsThatAWorkerCouldReadInAnotherWayAreRefused(more: String) {
        #expect(Self.isRefused(Self.proxy(more)))
    }

    @Test(arguments: [
        #"{"accept":"a","cookie":"b"}"#, #"{"authorization":"Bearer x"}"#, #"{"Accept":"a"}"#, #"{"accept":["a"]}"#,
        #"{"accept":"a","accept":"b"}"#, #"{"accept":"a","acc\u0065pt":"b"}"#, #"{"accept":"a\r\nx: y"}"#,
        #"{"accept":"a\u0000"}"#, #"{"accept":"a\u007f"}"#, #"{"host":"x"}"#, "[]", #""accept: a""#,
    ])
    func headersBesideAcceptAreRefused(headers: String) { #expect(Self.isRefused(Self.proxy(headers: headers))) }

    @Test func methodsAndQueriesAreBounded() {
        for method in ["PUT", "PATCH", "HEAD", "OPTIONS", "CONNECT", "post", "", "GET /admin"] {
            #expect(Self.isRefused(Self.proxy(method: method)), "\(method)")
        }
        #expect(Self.isRefused(Self.proxy(query: #"{"a":1}"#)))
        #expect(Self.isRefused(Self.proxy(query: #"{"a":"1","a":"2"}"#)))
        #expect(Self.isRefused(Self.proxy(query: #"{"a":{"b":"c"}}"#)))
        #expect(Self.isRefused(Self.proxy(query: #"{"a":["1",2]}"#)))
        #expect(Self.isRefused(Self.proxy(query: #"{"model":"m2"}"#)))
        #expect(Self.isRefused(Self.proxy(#","model":"m1""#, query: #"{"model":"m2"}"#)))
        #expect(Self.isRefused(Self.proxy(#","model":"m1""#, query: #"{"model":["m1","m2"]}"#)))
        #expect(Self.isRefused(Self.proxy(#","model":"m1""#, query: #"{"Model":"m1"}"#)))
        let values = (0..<65).map { #""\#($0)""# }.joined(separator: ",")
        #expect(Self.isRefused(Self.proxy(query: #"{"a":[\#(values)]}"#)))
        let many = (0..<65).map { #""k\#($0)":"v""# }.joined(separator: ",")
        #expect(Self.isRefused(Self.proxy(query: "{\(many)}")))
        for text in ["", "null", "[]", "{", "{}", #"{"endpoint_path":"/v1/images/edits"}"#, Self.proxy() + "x"] {
            #expect(Self.isRefused(text), "\(text)")
        }
    }

    @Test(arguments: [
        // No type, no object, another field, a length that no upload has.
        #","upload":{}"#, #","content_type":"audio/wav","upload":[]"#, #","content_type":"audio/wav","upload":7"#,
        #","content_type":"audio/wav","upload":{"offset":0}"#,
        #","content_type":"audio/wav","upload":{"length":5,"offset":0}"#,
        #","content_type":"audio/wav","upload":{"length":-1}"#, #","content_type":"audio/wav","upload":{"length":"5"}"#,
        #","content_type":"audio/wav","upload":{"length":68719476737}"#,
        #","content_type":"a\r\nb","upload":{}"#,
        // With another body beside it.
        #","content_type":"audio/wav","upload":{},"body":{}"#,
        // None at all, though one follows.
        #","content_type":"audio/wav","body_base64":"AAE=""#, "",
    ])
    func uploadsThatAreNotWhatTheySayAreRefused(more: String) {
        #expect(Self.isRefused(Self.proxy(more, path: "/v1/audio/transcriptions"), hasUpload: true))
    }

    /// A form is read part by part, and may name no model but the one that the request is judged by.
    @Test(arguments: [
        (#""fields":[{"name":"model","value":"m1"},{"name":"x","value":"\n"}],"files":[]"#, true),
        (#""fields":[{"name":"x","value":"1"},{"name":"x","value":"2"}]"#, true),
        (#""files":[{"name":"f","filename":"a b.wav","content_type":"audio/wav","data_base64":"AAE="}]"#, true),
        (#""fields":[{"name":"model","value":"m2"}],"files":[]"#, false),
        (#""fields":[{"name":"mod\u0065l","value":"m2"}],"files":[]"#, false),
        (#""fields":[{"name":"model","value":"m1"},{"name":"model","value":"m1"}],"files":[]"#, false),
        (#""fields":[{"name":"model","value":["m1"]}],"files":[]"#, false),
        (#""fields":[{"name":"x","name":"model","value":"m2"}],"files":[]"#, false),
        (#""fields":[{"name":"x","value":"m2","filename":"f"}],"files":[]"#, false),
        (#""fields":[],"fields":[{"name":"model","value":"m2"}]"#, false),
        (#""fields":{"name":"model","value":"m2"}"#, false), (#""fields":["model"]"#, false),
        (#""parts":[]"#, false),
        (#""files":[{"name":"model","filename":"a","content_type":"text/plain","data_base64":"bTI="}]"#, false),
        (#""files":[{"name":"f","filename":"a\r\nb","content_type":"text/plain","data_base64":"bTI="}]"#, false),
        (#""files":[{"name":"f","filename":"a","content_type":"a\r\nx: y","data_base64":"bTI="}]"#, false),
        (#""files":[{"name":"f\n","filename":"a","content_type":"a/b","data_base64":"bTI="}]"#, false),
        (#""files":[{"name":"f","filename":"a","content_type":"a/b"}]"#, false),
    ])
    func formsAreReadPartByPart(form: String, isTaken: Bool) {
        let text = Self.proxy(#","model":"m1","content_type":"multipart/form-data","multipart":{\#(form)}"#)
        #expect(Self.isRefused(text) == !isTaken)
        // Without a model to judge by none may be named.
        let unnamed = Self.proxy(#","content_type":"multipart/form-data","multipart":{\#(form)}"#)
        #expect(Self.isRefused(unnamed) == (!isTaken || form.contains(#""name":"model""#)))
    }

    @Test func whatAnEntryNodeMakesIsTaken() throws {
        let json = try Self.read(
            Self.proxy(#","model":"m1","body":{"model":"m1","x":[1]}"#, headers: #"{"accept":"a"}"#))
        #expect(json.model == "m1" && json.endpoint?.text == "/v1/images/edits" && json.upload == nil)
        #expect(json.form == .bytes && json.worker == nil && json.upload == nil)
        let plain = try Self.read(
            Self.proxy(path: "/v1/files/f-1", method: "GET", query: #"{"part":"2","m":""}"#))
        #expect(plain.model == nil && plain.endpoint?.text == "/v1/files/f-1")
        for body in [
            #","model":"m1","body":{"x":1}"#, #","body":{}"#, #","content_type":"a/b","body_base64":"AAE=""#,
            #","content_type":"multipart/form-data","multipart":{"fields":[],"files":[]}"#,
            #","worker":"00112233aabb""#, #","content_type":"application/x+json; charset=utf-8","body":{"x":1}"#,
            #","content_type":"audio/wav","body_base64":"""#, #","content_type":"audio/wav","body_base64":"ICAg""#,
        ] {
            #expect(!Self.isRefused(Self.proxy(body)), "\(body)")
        }
        #expect(try Self.read(Self.proxy(#","worker":"00112233aabb""#)).worker == "00112233aabb")
        let stream = #"{"endpoint_path":"/v1/video/progress","method":"GET","stream":true}"#
        #expect(try Self.read(stream).form == .events)
        let upload = try Self.read(
            Self.proxy(#","model":"m1","content_type":"audio/wav","upload":{"length":5}"#, path: "/v1/audio/x"),
            hasUpload: true)
        #expect(upload.upload == .init(contentType: "audio/wav", length: 5))
        let endless = try Self.read(
            Self.proxy(#","content_type":"audio/wav","upload":{}"#, path: "/v1/audio/x"), hasUpload: true)
        #expect(endless.upload == .init(contentType: "audio/wav", length: nil))
    }

    @Test func aChatNamesOneModelOnce() throws {
        let chat = try Self.read(#"{"model":"m1","messages":[],"stream":true}"#, .chatCompletions)
        #expect(chat.model == "m1" && chat.endpoint == nil && chat.form == .events)
        #expect(try Self.read(#"{"model":"m1"}"#, .chatCompletions).form == .document)
        for text in [
            #"{"messages":[]}"#, #"{"model":7}"#, #"{"model":"m1","model":"m2"}"#, #"{"model":"m1","mod\u0065l":"m2"}"#,
            #"{"model":"m1","stream":true,"stream":false}"#, #"["m1"]"#, "",
        ] {
            #expect(Self.isRefused(text, .chatCompletions), "\(text)")
        }
        #expect(Self.isRefused(#"{"model":"m1"}"#, .chatCompletions, hasUpload: true))
    }
}
