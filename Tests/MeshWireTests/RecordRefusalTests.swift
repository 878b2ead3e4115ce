import MeshCrypto
import MeshModel
import MeshWire
import SwiftProtobuf
import Testing

@Suite struct RecordRefusalTests {
    static let indices = RecordFixtures.all.indices

    @Test(arguments: indices) func everyFixtureVerifies(index: Int) {
        #expect(RecordFixtures.rejection(RecordFixtures.all[index].bytes) == nil)
    }

    /// One flipped bit anywhere: refused, whatever the bit means.
    @Test(arguments: indices) func everySingleBitMutationIsRefused(index: Int) {
        let bytes = RecordFixtures.all[index].bytes
        var taken: [Int] = []
        for bit in 0..<bytes.count * 8 {
            var mutated = bytes
            mutated[bit / 8] ^= 1 << UInt8(bit % 8)
            if RecordFixtures.rejection(mutated) == nil { taken.append(bit) }
        }
        #expect(taken.isEmpty)
    }

    @Test(arguments: indices) func everyTruncationIsRefused(index: Int) {
        let bytes = RecordFixtures.all[index].bytes
        let taken = (0..<bytes.count).filter { RecordFixtures.rejection(Array(bytes.prefix($0))) == nil }
        #expect(taken.isEmpty)
        #expect(RecordFixtures.rejection(bytes + [0]) == .length)
    }

    @Test func oversizeIsRefusedBeforeAnythingElse() {
        #expect(RecordFixtures.rejection(Array(repeating: 0x4D, count: Limits.recordBytes + 1)) == .oversize)
    }

    @Test(arguments: [
        (0, RecordRejection.magic), (2, .unknownType), (3, .unknownSuite), (4, .wrongNetwork), (92, .unknownFlags),
        (93, .unknownFlags), (94, .length),
    ])
    func headerFieldsAreChecked(offset: Int, expected: RecordRejection) {
        var bytes = RecordFixtures.descriptor
        bytes[offset] ^= 0x40
        #expect(RecordFixtures.rejection(bytes) == expected)
    }

    @Test func anotherTypeThanSignedIsRefused() {
        var bytes = RecordFixtures.descriptor
        bytes[2] = RecordType.beacon.rawValue
        #expect(RecordFixtures.rejection(bytes) == .signature)
    }

    @Test func timesAreHard() {
        let bytes = RecordFixtures.descriptor
        let wall = RecordFixtures.wall
        let end = 60_000 + Limits.recordExpiryGraceMs
        #expect(RecordFixtures.rejection(bytes, wall: wall.advanced(byMilliseconds: end - 1)) == nil)
        #expect(RecordFixtures.rejection(bytes, wall: wall.advanced(byMilliseconds: end)) == .expired)
        let skew = Limits.recordFutureSkewMs
        #expect(RecordFixtures.rejection(bytes, wall: wall.advanced(byMilliseconds: -skew)) == nil)
        #expect(RecordFixtures.rejection(bytes, wall: wall.advanced(byMilliseconds: -skew - 1)) == .future)
    }

    @Test func epochFarAheadIsRefused() {
        func descriptor(_ ahead: UInt32) -> [UInt8] {
            RecordFixtures.sign(
                .nodeDescriptor, by: RecordFixtures.node, name: [], body: [],
                epoch: RecordVersion.epoch(at: RecordFixtures.wall) + ahead)
        }
        #expect(RecordFixtures.rejection(descriptor(Limits.recordEpochAheadMinutes)) == nil)
        #expect(RecordFixtures.rejection(descriptor(Limits.recordEpochAheadMinutes + 1)) == .epochAhead)
    }

    @Test(arguments: RecordType.allCases) func aLifeBeyondTheTypesMaximumIsRefused(type: RecordType) {
        let bytes = RecordFixtures.sign(
            type, by: RecordFixtures.node, name: [], body: [], lifeMs: type.maximumLifeMs + 1)
        #expect(RecordFixtures.rejection(bytes) == .lifetime)
    }

    @Test func aKeyThatDoesNotFollowFromTheBodyIsRefused() {
        let bytes = RecordFixtures.sign(
            .providerAdvert, by: RecordFixtures.owner, name: Array("other".utf8),
            body: RecordBody.bytes(of: Aisbf_Mesh_V1_ProviderAdvert.with { $0.providerID = "gpu" }))
        #expect(RecordFixtures.rejection(bytes) == .recordKey)
    }

    @Test func aBodyThatIsNoMessageIsRefused() {
        let bytes = RecordFixtures.sign(
            .nodeDescriptor, by: RecordFixtures.node, name: [], body: Array(repeating: 0xFF, count: 64))
        #expect(RecordFixtures.rejection(bytes) == .body)
    }

    /// A signature by the identity element as key holds for any message with a lenient verifier.
    @Test func theIdentityKeyForgesNothing() {
        var bytes = RecordFixtures.descriptor
        let identity: [UInt8] = [1] + Array(repeating: 0, count: 31)
        bytes.replaceSubrange(20..<52, with: identity)
        bytes.replaceSubrange((bytes.count - 64)..., with: identity + Array(repeating: 0, count: 32))
        #expect(RecordFixtures.rejection(bytes) == .signature)
    }
}
