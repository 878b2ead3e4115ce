/// What a request needs of a worker; nil means whatever it has.
package struct WorkerNeed: Hashable, Sendable {
    package var model: String?
    package var endpoint: EndpointPath?
    /// The mark of one worker among its provider's (`aisbf-worker`), where an earlier request left something.
    package var worker: String?
    /// That it takes an upload while it arrives.
    package var takesUploads: Bool

    package init(
        model: String?, endpoint: EndpointPath? = nil, worker: String? = nil, takesUploads: Bool = false
    ) {
        self.takesUploads = takesUploads
        self.model = model
        self.endpoint = endpoint
        self.worker = worker
    }
}
