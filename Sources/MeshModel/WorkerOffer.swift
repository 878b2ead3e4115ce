/// What a worker offers, as this node chooses by it, shows it and tells the mesh of it. Its session, its attachment and
/// the catalog each hold one, so a new field is one here and one in the codec of attachments (MeshWire).
package struct WorkerOffer: Hashable, Sendable {
    package struct Hardware: Hashable, Sendable {
        package var gpuClass: String
        package var gpuCount: UInt32
        package var totalVramMb: UInt32

        package init(gpuClass: String = "", gpuCount: UInt32 = 0, totalVramMb: UInt32 = 0) {
            self.gpuClass = gpuClass
            self.gpuCount = gpuCount
            self.totalVramMb = totalVramMb
        }
    }

    package var models: ModelList
    /// Paths beside chat, such as `v1/images/generations`.
    package var endpoints: [String]
    package var hardware: Hardware
    /// How many requests it takes at once; 0 when it did not tell.
    package var slots: UInt32
    /// As the node measured it that it is attached to.
    package var speed: WorkerSpeed
    /// Whether it takes uploads in binary frames, as they come.
    package var takesUploads: Bool

    package init(
        models: ModelList = [], endpoints: [String] = [], hardware: Hardware = Hardware(), slots: UInt32 = 0,
        speed: WorkerSpeed = WorkerSpeed(), takesUploads: Bool = false
    ) {
        self.models = models
        self.endpoints = endpoints
        self.hardware = hardware
        self.slots = slots
        self.speed = speed
        self.takesUploads = takesUploads
    }

    /// Whether the worker has what a request needs. Which worker it is, its holder knows.
    /// - Parameter mark: asked for only where the request names a worker.
    package func meets(_ need: WorkerNeed, mark: @autoclosure () -> String) -> Bool {
        if let worker = need.worker, worker != mark() { return false }
        if let model = need.model, !models.contains(model) { return false }
        if need.takesUploads, !takesUploads { return false }
        return need.endpoint.map { $0.isOffered(by: endpoints) } ?? true
    }

    /// The worker registered anew. Its models it lists in another message, and its speed is not its word.
    package mutating func renew(_ told: WorkerOffer) {
        let (models, speed) = (models, speed)
        self = told
        self.models = models
        self.speed = speed
    }

    /// As much of it as a node keeps, whatever a worker says of itself.
    package func bounded() -> WorkerOffer {
        var offer = self
        offer.models = models.bounded()
        if endpoints.count > Limits.workerEndpoints {
            offer.endpoints = Array(endpoints.prefix(Limits.workerEndpoints))
        }
        offer.hardware.gpuClass = hardware.gpuClass.cut(toUTF8Bytes: Limits.hardwareNameBytes)
        return offer
    }
}
