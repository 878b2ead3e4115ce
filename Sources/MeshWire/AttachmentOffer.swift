package import MeshModel

/// A worker's offer in records: in its attachment and, as far as its list of models has no room there, on pages
/// (Docs/Protocol/records.md). The one place that knows both; bytes are as every released node writes them.
extension WorkerOffer {
    /// Reads what an attachment says; of what stands on pages it has nothing yet.
    package init(_ body: Aisbf_Mesh_V1_Attachment) {
        self.init(
            models: ModelList(body.models.prefix(Limits.attachmentModels).map { WorkerModel($0) }),
            endpoints: Array(body.endpoints.prefix(Limits.workerEndpoints)),
            hardware: Hardware(
                gpuClass: body.hardware.gpuClass.cut(toUTF8Bytes: Limits.hardwareNameBytes),
                gpuCount: body.hardware.gpuCount, totalVramMb: body.hardware.totalVramMb),
            slots: body.slots,
            speed: WorkerSpeed(
                tokensPerSecond: Int64(body.tokensPerSecond), firstContentMs: Int64(body.firstContentMs),
                latencyMs: Int64(body.latencyMs)),
            takesUploads: body.takesUploads)
    }

    /// Writes it into an attachment: of the models the first `modelsAttached`.
    package func write(to body: inout Aisbf_Mesh_V1_Attachment) {
        body.hardware.gpuClass = hardware.gpuClass
        body.hardware.gpuCount = hardware.gpuCount
        body.hardware.totalVramMb = hardware.totalVramMb
        body.endpoints = endpoints
        body.tokensPerSecond = UInt32(clamping: speed.tokensPerSecond)
        body.firstContentMs = UInt32(clamping: speed.firstContentMs)
        body.latencyMs = UInt32(clamping: speed.latencyMs)
        body.slots = slots
        body.takesUploads = takesUploads
        let attached = modelsAttached
        body.models = models.prefix(attached).map(\.record.message)
        body.moreModels = attached < models.count
    }

    /// How many of its models its attachment lists; the rest is on pages.
    package var modelsAttached: Int {
        let room =
            AttachmentPage.room - endpoints.prefix(Limits.workerEndpoints).reduce(0) { $0 + $1.utf8.count + 3 }
            - hardware.gpuClass.utf8.count
        var bytes = 0
        for (place, model) in models.prefix(Limits.attachmentModels).enumerated() {
            bytes += model.record.size
            if bytes > room { return place }
        }
        return min(models.count, Limits.attachmentModels)
    }
}

/// A page of models: an attachment of its own, which says nothing but what else the workers of one provider offer.
package enum AttachmentPage {
    /// What is left of a record's body beside keys, hashes and numbers.
    package static let room = Limits.recordBodyBytes - 256

    package static func write(
        _ models: some Sequence<WorkerModel>, number: Int, to body: inout Aisbf_Mesh_V1_Attachment
    ) {
        body.models = models.map(\.record.message)
        body.page = UInt32(clamping: number)
    }
}

extension WorkerModel {
    package init(_ offer: Aisbf_Mesh_V1_ModelOffer) {
        self.init(
            id: offer.id, contextTokens: offer.contextTokens == 0 ? nil : offer.contextTokens,
            modalities: Array(offer.modalities.prefix(Limits.modalities)),
            quantization: offer.quantization.isEmpty
                ? nil : offer.quantization.cut(toUTF8Bytes: Limits.quantizationBytes),
            parameters: RequestParameters(rawValue: offer.parameters))
    }

    /// The model as records say it, and what it adds to a body.
    package var record: (message: Aisbf_Mesh_V1_ModelOffer, size: Int) {
        var message = Aisbf_Mesh_V1_ModelOffer()
        message.id = id
        message.contextTokens = contextTokens ?? 0
        message.modalities = Array(modalities.prefix(Limits.modalities))
        message.quantization = quantization ?? ""
        message.parameters = parameters.rawValue
        let length = RecordBody.bytes(of: message).count
        return (message, length + (length < 128 ? 2 : 3))
    }
}
