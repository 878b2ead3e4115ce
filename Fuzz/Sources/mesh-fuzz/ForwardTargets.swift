import MeshModel
import MeshWire

/// The document of a forwarded request: what a hosting node takes names one model, and a path that a buyer may reach.
enum ForwardPayloadTarget {
    static func run(_ input: [UInt8]) {
        var reader = InputReader(input)
        let kind = reader.byte()
        let operation: WorkerOperation = kind & 1 == 0 ? .proxy : .chatCompletions
        let read = Array(reader.rest).withUnsafeBytes { raw in
            try? WorkerPayload.read(raw, operation, hasUpload: kind & 2 != 0)
        }
        guard let read else { return }
        expect((read.upload != nil) == (kind & 2 != 0), "an upload that was not announced")
        expect(operation == .proxy || read.model != nil, "a chat without a model")
        expect((read.endpoint != nil) == (operation == .proxy), "a path where there is none")
        if let endpoint = read.endpoint { expect(EndpointPath(endpoint.text) == endpoint, "a path of two spellings") }
    }
}

/// The head and the trailers of a forwarded answer: what is read of them is written and read the same.
enum ForwardAnswerTarget {
    static func run(_ input: [UInt8]) {
        var reader = InputReader(input)
        let status = Int(reader.byte()) * 4
        let lines = String(decoding: reader.rest, as: UTF8.self).split(separator: "\n")
        let fields = lines.map { line in
            let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            return HeaderField(String(parts[0]), parts.count > 1 ? String(parts[1]) : "")
        }
        if let head = ForwardAnswerHead.read(status: status, fields: fields) {
            let written = head.fields
            expect(ForwardAnswerHead.read(status: head.status, fields: written) == head, "a head of two readings")
        }
        if let end = ForwardAnswerEnd(trailers: fields) {
            let written = end.trailers
            for field in written.dropFirst() where field.name != "aisbf-error" {
                expect(field.value.utf8.allSatisfy { (0x20..<0x7F).contains($0) }, "a trailer that is none")
            }
            guard case .complete = end else { return }
            expect(ForwardAnswerEnd(trailers: written) == end, "an end of two readings")
        }
    }
}
