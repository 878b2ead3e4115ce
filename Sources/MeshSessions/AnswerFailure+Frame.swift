package import MeshDialects
import MeshModel
import MeshWire

extension AnswerFailure {
    /// A reply frame that says that the request failed: in `error`, or in its payload.
    package init(_ frame: WorkerFrame, in bytes: UnsafeRawBufferPointer) {
        let outer = AnswerFailure(frame.fields, in: bytes)
        self.init(text: outer?.text, code: outer?.code ?? frame.fields.string("code", in: bytes))
        guard let payload = frame.payload else { return }
        if payload.kind == .string, text == nil {
            text = JSONText.string(payload, in: bytes)
        }
        guard let fields = frame.fields(of: payload, in: bytes) else { return }
        let inner = AnswerFailure(fields, in: bytes)
        text = text ?? inner?.text ?? Self.message(fields, in: bytes)
        code = code ?? inner?.code ?? fields.string("code", in: bytes)
    }
}
