import CLibFuzzer
import Glibc

@main enum Main {
    static func main() {
        // Chosen before the first input, so that a wrong name is said at once.
        _ = FuzzTarget.chosen
        var count = CommandLine.argc
        var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = CommandLine.unsafeArgv
        exit(LLVMFuzzerRunDriver(&count, &arguments) { testOneInput($0, $1) })
    }
}

/// One input for the target that the variable AISBF_FUZZ_TARGET names: one program, built once, holds all targets.
@_cdecl("LLVMFuzzerTestOneInput")
package func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    // A copy of exactly this length, so that a read beyond its end is noticed.
    let input = start.map { Array(UnsafeBufferPointer(start: $0, count: count)) } ?? []
    FuzzTarget.chosen.run(input)
    return 0
}

/// What one input is given to.
enum FuzzTarget: String, CaseIterable {
    case base64, chatLetter = "chat-letter", eventStream = "event-stream", forwardAnswer = "forward-answer"
    case forwardPayload = "forward-payload", forwardSignature = "forward-signature", hardware, json
    case linkFrame = "link-frame", messages, multipart, path, percent, record, responses
    case responsesTalk = "responses-talk"
    case streamFrames = "stream-frames", upload, webSocket = "web-socket", workerFrame = "worker-frame"
    case workerSession = "worker-session"

    static let chosen: FuzzTarget = {
        let name = getenv("AISBF_FUZZ_TARGET").map { String(cString: $0) } ?? ""
        guard let target = FuzzTarget(rawValue: name) else {
            let names = allCases.map(\.rawValue).joined(separator: " ")
            say("set AISBF_FUZZ_TARGET to one of: \(names)\n")
            exit(64)
        }
        return target
    }()

    func run(_ input: [UInt8]) {
        switch self {
        case .base64: Base64Target.run(input)
        case .chatLetter: ChatLetterTarget.run(input)
        case .eventStream: EventStreamTarget.run(input)
        case .forwardAnswer: ForwardAnswerTarget.run(input)
        case .forwardPayload: ForwardPayloadTarget.run(input)
        case .forwardSignature: ForwardSignatureTarget.run(input)
        case .hardware: HardwareTarget.run(input)
        case .json: JSONTarget.run(input)
        case .linkFrame: LinkFrameTarget.run(input)
        case .messages: MessagesTarget.run(input)
        case .multipart: MultipartTarget.run(input)
        case .path: PathTarget.run(input)
        case .percent: PercentTarget.run(input)
        case .record: RecordTarget.run(input)
        case .responses: ResponsesTarget.run(input)
        case .responsesTalk: ResponsesTalkTarget.run(input)
        case .streamFrames: StreamFramesTarget.run(input)
        case .webSocket: WebSocketTarget.run(input)
        case .upload: UploadTarget.run(input)
        case .workerFrame: WorkerFrameTarget.run(input)
        case .workerSession: WorkerSessionTarget.run(input)
        }
    }
}

/// A property that must hold; a finding otherwise.
func expect(_ condition: @autoclosure () -> Bool, _ words: @autoclosure () -> String) {
    if condition() { return }
    say("property broken: \(words())\n")
    abort()
}

private func say(_ text: String) {
    let bytes = Array(text.utf8)
    _ = bytes.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
}

/// Takes numbers off the front of an input, so that splits and times are part of what is mutated.
struct InputReader {
    private(set) var rest: ArraySlice<UInt8>

    init(_ input: [UInt8]) { rest = input[...] }

    mutating func byte() -> UInt8 { rest.popFirst() ?? 0 }

    /// `rest` cut into reads whose lengths follow from `seed`.
    static func reads(_ bytes: ArraySlice<UInt8>, seed: UInt8) -> [[UInt8]] {
        var reads: [[UInt8]] = []
        var left = bytes
        var state = UInt32(seed) &* 2_654_435_761 | 1
        while !left.isEmpty {
            state = state &* 1_664_525 &+ 1_013_904_223
            let length = Int(state >> 24) % (1 + Int(seed) / 4) + 1
            reads.append(Array(left.prefix(length)))
            left = left.dropFirst(length)
        }
        return reads
    }
}
