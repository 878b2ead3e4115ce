import MeshModel
import MeshWire
import SwiftProtobuf
import Testing

/// A worker's offer in the bytes of attachments and pages.
@Suite struct AttachmentOfferTests {
    private static let offer = WorkerOffer(
        models: [
            WorkerModel(id: "lab/a", contextTokens: 8_192, modalities: ["text", "image"]), WorkerModel(id: "b"),
        ],
        endpoints: ["v1/images/edits", "v1/files"],
        hardware: .init(gpuClass: "RTX 4090", gpuCount: 2, totalVramMb: 49_152), slots: 4,
        speed: WorkerSpeed(tokensPerSecond: 31, firstContentMs: 250, latencyMs: 4_100), takesUploads: true)

    /// Field by field as nodes have always written them.
    private static let bytes = [
        "32170a056c61622f611080401a04746578741a05696d616765",
        "32030a0162",
        "3a100a085254582034303930100218808003",
        "4004",
        "4a0f76312f696d616765732f6564697473",
        "4a0876312f66696c6573",
        "581f",
        "60fa01",
        "6801",
        "708420",
    ].joined()

    @Test func bytesAreWhatTheyWere() throws {
        var body = Aisbf_Mesh_V1_Attachment()
        Self.offer.write(to: &body)
        #expect(hexText(RecordBody.bytes(of: body)) == Self.bytes)
        #expect(WorkerOffer(body) == Self.offer)
    }

    /// What older nodes signed, read and written again.
    @Test(arguments: [0, 1, 2, 3]) func goldenRecordsStayTheSame(index: Int) throws {
        let fixture = [
            RecordFixtures.attachment, RecordFixtures.measuredAttachment, RecordFixtures.continuedAttachment,
            RecordFixtures.page,
        ][index]
        guard case .attachment(let body) = try RecordFixtures.verify(fixture).get().body else {
            return #expect(Bool(false))
        }
        var written = body
        written.models = []
        written.hardware = Aisbf_Mesh_V1_Hardware()
        written.clearHardware()
        let offer = WorkerOffer(body)
        if body.page > 0 {
            AttachmentPage.write(offer.models, number: Int(body.page), to: &written)
        } else {
            offer.write(to: &written)
            // Golden attachments of before have no hardware; a worker without any is written with an empty one.
            #expect(written.hardware == Aisbf_Mesh_V1_Hardware())
            written.clearHardware()
            // That the list goes on is known of the whole list only.
            written.moreModels = body.moreModels
        }
        #expect(RecordBody.bytes(of: written) == RecordBody.bytes(of: body))
    }

    @Test(arguments: [1, 40, 256, 257, 4_096])
    func whatHasNoRoomIsLeftToPages(count: Int) throws {
        var offer = Self.offer
        offer.models = ModelList((0..<count).map { WorkerModel(id: "lab/model-number-\($0)", contextTokens: 4_096) })
        var body = Aisbf_Mesh_V1_Attachment()
        offer.write(to: &body)
        #expect(RecordBody.bytes(of: body).count <= AttachmentPage.room + 64)
        #expect(body.models.count == offer.modelsAttached && body.models.count <= Limits.attachmentModels)
        #expect(body.moreModels == (body.models.count < count))
        let sizes = offer.models.map(\.record.size).reduce(0, +)
        var page = Aisbf_Mesh_V1_Attachment()
        AttachmentPage.write(offer.models, number: 3, to: &page)
        #expect(page.page == 3 && RecordBody.bytes(of: page).count == sizes + 3, "what a model adds is known")
    }

    /// A peer's bytes are bounded as a worker's words are.
    @Test func strangersAttachmentsAreBounded() {
        var body = Aisbf_Mesh_V1_Attachment()
        body.models = (0..<900).map { number in .with { $0.id = "m\(number)" } }
        body.models[0].modalities = (0..<50).map { "k\($0)" }
        body.endpoints = (0..<300).map { "v1/\($0)" }
        body.hardware.gpuClass = String(repeating: "g", count: 500)
        let offer = WorkerOffer(body)
        #expect(offer == offer.bounded() && offer.models.count == Limits.attachmentModels)
    }
}
