import MeshDialects
import MeshModel
import MeshWire

/// Answers that come in one piece.
extension AnswerExchange {
    /// Whether an answer behind chunks can be what they came to. A picture, or what nobody can read, is none.
    mutating func isRepeat(
        _ whole: WholeAnswer?, _ frame: WorkerFrame, _ bytes: UnsafeRawBufferPointer
    ) -> Bool {
        guard let whole else {
            let content = WorkerAnswer.content(frame, in: bytes)?.kind
            return content == nil || content == .null || content == .object
        }
        guard whole.head.status < 400 else { return false }
        guard whole.body.isEmpty || whole.isStream || flaw(of: whole, mustBeJSON: true) == nil else { return false }
        if !whole.body.isEmpty { events.markFinished() }
        return true
    }

    mutating func ended(_ frame: WorkerFrame, _ bytes: UnsafeRawBufferPointer) -> [Action] {
        switch WorkerAnswer.ending(frame, in: bytes, usage: &usage) {
        case .nothing:
            if WorkerAnswer.tellsFinish(frame, in: bytes) { events.markFinished() }
            return doneArrived()
        case .failure(let error): return failed(error)
        case .unreadable: return hasResult ? doneArrived() : failed(unreadable)
        case .pieces(let pieces):
            let actions = chunkArrived(pieces, frame, bytes)
            return isFinished ? actions : actions + doneArrived()
        case .whole(let whole):
            // After the answer's own parts it could only be the same once more, unless it says that all went wrong.
            if whole.head.status >= 400 { return wholeArrived(whole, frame, bytes) }
            if hasResult, form == .events { events.markFinished() }
            if hasResult || (form == .events && whole.body.isEmpty) { return doneArrived() }
            return wholeArrived(whole, frame, bytes)
        }
    }

    mutating func wholeArrived(
        _ whole: WholeAnswer, _ frame: WorkerFrame? = nil,
        _ bytes: UnsafeRawBufferPointer = UnsafeRawBufferPointer(start: nil, count: 0)
    ) -> [Action] {
        if whole.head.status >= 400 { return refused(whole) }
        if subject != .files, whole.isPage { return failed(page) }
        guard form == .events else { return documentArrived(whole) }
        // Older clients answer a streamed request with the whole event stream, or the whole object, in one frame.
        if whole.isStream {
            let actions = deliver(events.append(stream: whole.body, usage: &usage))
            return isFinished ? actions : actions + doneArrived()
        }
        let piece: AnswerPiece
        let flaw = flaw(of: whole, mustBeJSON: whole.isLoose)
        if flaw == nil, whole.head.isJSON || whole.isLoose {
            piece = .json(ChatCompletion.chunk(whole.body) ?? whole.body)
        } else if let flaw, whole.head.isJSON || (subject.isOfModel && whole.head.isText) {
            return failed(flaw)
        } else if case .waiting = state {
            // A picture cannot be events, and is answered as what it is; nothing at all, or lines of another protocol, are
            // no answer of a model.
            if subject.isOfModel, !whole.mayBeMedia { return failed(flaw ?? unreadable) }
            return documentArrived(whole)
        } else if !hasResult, let frame, let payload = WorkerAnswer.content(frame, in: bytes) {
            // Too late for that: it goes as the worker wrapped it.
            piece = .json(Array(bytes[payload.range]))
        } else {
            return failed(
                MeshError(.streamInterrupted, "\(answerer.words) ended its stream with something that is no event"))
        }
        events.markFinished()
        let actions = deliver(events.append(wholes: [piece], usage: &usage))
        return isFinished ? actions : actions + doneArrived()
    }

    mutating func documentArrived(_ whole: WholeAnswer) -> [Action] {
        guard case .waiting = state else {
            return failed(MeshError(.streamInterrupted, "\(answerer.words) answered a second time, in another form"))
        }
        if expectsDocument, whole.isStream {
            return failed(AnswerEvents.failure(in: whole.body, by: answerer) ?? unreadable)
        }
        let mustBeJSON = form == .document && (whole.isTypeGuessed || !whole.mayBeMedia)
        if let flaw = flaw(of: whole, mustBeJSON: mustBeJSON) { return failed(flaw) }
        finalStatus = whole.head.status
        return [.head(whole.head), part(whole.body), complete()]
    }

    private mutating func refused(_ whole: WholeAnswer) -> [Action] {
        guard case .waiting = state else { return failed(AnswerFailure.body(of: whole).failure.error(by: answerer)) }
        switch AnswerFailure.answer(for: whole, isChat: form != .bytes, by: answerer) {
        case .failure(let error): return failed(error)
        case .success(let whole):
            finalStatus = whole.head.status
            return [.head(whole.head), part(whole.body), complete()]
        }
    }

    /// Why a success is none: it says that it is JSON and is garbage, or it only tells of a failure.
    private mutating func flaw(of whole: WholeAnswer, mustBeJSON: Bool) -> MeshError? {
        guard whole.head.isJSON || mustBeJSON else { return nil }
        return whole.body.withUnsafeBytes { bytes in
            // The one scan of a plain answer also finds its usage.
            guard let (fields, choice) = try? JSONScanner.fields(of: bytes, opening: "choices") else {
                return (try? JSONScanner.value(of: bytes)) == nil ? unreadable : nil
            }
            usage.readInside(fields, in: bytes)
            if let choice, fields.value("choices", in: bytes)?.kind == .array {
                finishReason = ChatCompletion.finishReason(ofChoice: choice, in: bytes)
            }
            guard expectsDocument || subject.isOfModel,
                answerMembers.allSatisfy({ fields.value($0, in: bytes) == nil })
            else { return nil }
            // Some servers say what is wrong in `detail`, and proxies in front of them give any status with it.
            let failure =
                AnswerFailure(fields, in: bytes) ?? fields.string("detail", in: bytes).map { AnswerFailure(text: $0) }
            return failure?.error(by: answerer)
        }
    }
}
