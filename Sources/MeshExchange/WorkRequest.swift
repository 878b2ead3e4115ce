package import MeshModel
package import MeshWire

/// A request on its way to whoever answers it, the same for every place. One object for all who have to do with it: as a
/// value it was a quarter of what a request cost.
package final class WorkRequest: Sendable {
    /// What it carries; rendered for each place with that place's name for the model.
    package let content: Content
    package let form: AnswerForm
    /// What a worker has to have for it.
    package let need: WorkerNeed
    /// Whether another worker may be tried when one was lost with the request in its hands: not where the request may
    /// have had an effect that a second one would repeat.
    package let mayRepeat: Bool
    /// Whether another worker may go on with a stream that breaks off behind its first content.
    package let mayResume: Bool
    package let deadlines: AnswerDeadlines
    /// What follows the body, passed on while it arrives.
    package let upload: (any UploadSource)?

    package init(
        content: Content, form: AnswerForm, need: WorkerNeed, mayRepeat: Bool = true, mayResume: Bool = false,
        deadlines: AnswerDeadlines, upload: (any UploadSource)? = nil
    ) {
        self.content = content
        self.form = form
        self.need = need
        self.mayRepeat = mayRepeat
        self.mayResume = mayResume
        self.deadlines = deadlines
        self.upload = upload
    }

    /// The same for one place.
    /// - Parameters:
    ///   - deadlines: what is left of its time.
    ///   - text: what somebody else has begun its answer with, UTF-8; nil where nobody has.
    package func attempt(
        deadlines: AnswerDeadlines, upload: (any UploadSource)?, behind text: [UInt8]? = nil
    ) -> WorkRequest {
        WorkRequest(
            content: text.map(content.goingOn(behind:)) ?? content, form: form, need: need, mayRepeat: mayRepeat,
            mayResume: mayResume, deadlines: deadlines, upload: upload)
    }
}
