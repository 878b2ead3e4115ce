import MeshModel
import Testing

@Suite struct WorkerOfferTests {
    static let offer = WorkerOffer(
        models: [WorkerModel(id: "m"), WorkerModel(id: "n")], endpoints: ["v1/images", "v1/files/{id}"], slots: 2,
        takesUploads: false)

    @Test(
        arguments: [
            (WorkerNeed(model: nil), true), (WorkerNeed(model: "m"), true), (WorkerNeed(model: "o"), false),
            (WorkerNeed(model: "m", endpoint: EndpointPath("/v1/images/edits")), true),
            (WorkerNeed(model: "o", endpoint: EndpointPath("/v1/images/edits")), false),
            (WorkerNeed(model: nil, endpoint: EndpointPath("/v1/audio/speech")), false),
            (WorkerNeed(model: nil, worker: "0123456789ab"), true),
            (WorkerNeed(model: nil, worker: "ba9876543210"), false),
            (WorkerNeed(model: nil, takesUploads: true), false),
        ] as [(WorkerNeed, Bool)])
    func whatARequestNeeds(need: WorkerNeed, isMet: Bool) {
        #expect(Self.offer.meets(need, mark: "0123456789ab") == isMet)
        var uploads = Self.offer
        uploads.takesUploads = true
        #expect(uploads.meets(need, mark: "0123456789ab") == (isMet || need.takesUploads))
    }

    @Test(arguments: [0, 1, Limits.workerModelsShort, Limits.workerModelsShort + 1, Limits.workerModels + 1])
    func longListsAreSearchedLikeShortOnes(count: Int) {
        let list = ModelList((0..<count).map { WorkerModel(id: "m\($0)") })
        #expect(list.count == count && Array(list).map(\.id) == (0..<count).map { "m\($0)" })
        #expect(!list.contains("m\(count)") && !list.contains(""))
        for number in 0..<count { #expect(list.contains("m\(number)")) }
    }

    /// A registration says nothing of models and speed, and everything else.
    @Test func aNewRegistrationKeepsModelsAndSpeed() {
        var offer = Self.offer
        offer.speed = WorkerSpeed(tokensPerSecond: 9)
        offer.renew(WorkerOffer(endpoints: ["v1/audio"], slots: 7, takesUploads: true))
        #expect(
            offer
                == WorkerOffer(
                    models: Self.offer.models, endpoints: ["v1/audio"], slots: 7,
                    speed: WorkerSpeed(tokensPerSecond: 9), takesUploads: true))
    }

    @Test func whatAWorkerClaimsIsBounded() {
        #expect(Self.offer.bounded() == Self.offer)
        let modalities = (0..<99).map { "k\($0)" }
        let offer = WorkerOffer(
            models: ModelList((0..<5_000).map { WorkerModel(id: "m\($0)", modalities: modalities) }),
            endpoints: (0..<200).map { "v1/\($0)" },
            hardware: .init(gpuClass: "g" + String(repeating: "\u{0301}", count: 3_000))
        ).bounded()
        #expect(offer.models.count == Limits.workerModels && offer.endpoints.count == Limits.workerEndpoints)
        #expect(offer.models.allSatisfy { $0.modalities == Array(modalities.prefix(Limits.modalities)) })
        #expect(offer.hardware.gpuClass.utf8.count <= Limits.hardwareNameBytes)
    }

    @Test func marksAreTheBeginningOfTheHash() {
        let mark = WorkerMark.text(clientHash: Array(0x0A...0x19))
        #expect(mark == "0a0b0c0d0e0f" && WorkerMark.isMark(mark))
        for wrong in ["", "0a0b0c0d0e0", "0A0B0C0D0E0F", "0a0b0c0d0e0f0", "0a0b0c0d0e0g"] {
            #expect(!WorkerMark.isMark(wrong), "\(wrong)")
        }
    }
}
