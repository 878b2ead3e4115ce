import MeshCrypto
import MeshModel
import MeshRouting
import MeshStore
import Testing

@Suite struct NameStoreTests {
    @Test func namesAreReadInTheOrderInWhichTheyWereLearnt() throws {
        let home = SigningKey.random().publicKey
        func pin(_ name: MeshName, _ holder: [UInt8]?, _ order: UInt64, used: Bool = false) -> NamePin {
            NamePin(
                name: name, holder: holder, order: order, home: home, learnt: Timestamp(milliseconds: 5),
                seen: Timestamp(milliseconds: 6), isUsed: used, isOwn: !used)
        }
        let key = [UInt8](repeating: 3, count: 16)
        var pins = [
            pin(.node("b"), home.bytes, 1), pin(.owner("seller", at: home), nil, 2, used: true),
            pin(.own("lab", owner: home), key, 3), pin(.global("lab"), key, 4), pin(.provider("lab"), key, 5),
            pin(.model("org/modèle with \"all\" sorts@x:y"), [], 6),
        ]
        let scratch = try ScratchDirectory()
        let store = try MeshStore.open(scratch.database)
        #expect(try store.names().isEmpty)
        try store.saveNames(pins.reversed().map(NameChange.save))
        #expect(try store.names() == pins)
        pins[1].holder = home.bytes
        try store.saveNames([.save(pins[1]), .remove(pins[0].name), .remove(.node("nobody"))])
        try store.close()
        #expect(try MeshStore.open(scratch.database).names() == Array(pins.dropFirst()))
    }
}
