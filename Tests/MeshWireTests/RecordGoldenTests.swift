import MeshModel
import Testing

/// The bytes of one record of each type. A change here is a change of the wire: old nodes would refuse the records.
@Suite struct RecordGoldenTests {
    @Test(arguments: RecordFixtures.all.indices) func bytesAreWhatTheyWere(index: Int) {
        let fixture = RecordFixtures.all[index]
        #expect(hexText(fixture.bytes) == RecordGolden.hex[fixture.name], "\(fixture.name)")
    }
}
