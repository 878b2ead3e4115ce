package import MeshModel
package import MeshWire

/// A request on its way to whoever answers it, the same for every place.
package struct WorkRequest: Sendable {
    /// What it carries; rendered for each place with that place's name for the model.
    package var content: Content
    package var form: AnswerForm
    /// What a worker has to have for it.
    package var need: WorkerNeed
    /// Whether another worker may be tried when one was lost with the request in its hands: not where the request may
    /// have had an effect that a second one would repeat.
    package var mayRepeat: Bool
    /// Whether another worker may go on with a stream that breaks off behind its first content.
    package var mayResume = false
    package var deadlines: AnswerDeadlines
    /// What follows the body, passed on while it arrives.
    package var upload: (any UploadSource)?

    package init(
        content: Content, form: AnswerForm, need: WorkerNeed, mayRepeat: Bool = true, deadlines: AnswerDeadlines,
        upload: (any UploadSource)? = nil
    ) {
        self.content = content
        self.form = form
        self.need = need
        self.mayRepeat = mayRepeat
        self.deadlines = deadlines
        self.upload = upload
    }
}
