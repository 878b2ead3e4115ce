import FoundationEssentials
import MeshCrypto
import MeshGossip
import MeshModel
import MeshWire
import Testing

/// The handshake as a value: no sockets.
@Suite struct LinkHandshakeTests {
    private static let network = NetworkID(Bytes16(high: 1, low: 2))
    private static let now = Now(
        instant: Instant(nanoseconds: 0), wall: Timestamp(milliseconds: 1_800_000_000_000))

    private struct Side {
        var key = SigningKey.random()
        var spki: [UInt8]
        var operatorKey: SigningKey?
        var certifiedNode: PublicKey?
        var certificateEnds: Int64 = 60_000
        var admission = LinkAdmission(isOpen: true)
        var protocols: ClosedRange<UInt32> = 1...1

        var descriptor: [UInt8] {
            var body = Aisbf_Mesh_V1_NodeDescriptor()
            body.tlsSpkiPins = [Data(spki)]
            if let operatorKey {
                let ends = LinkHandshakeTests.now.wall.advanced(byMilliseconds: certificateEnds)
                body.operator.operatorKey = Data(operatorKey.publicKey.bytes)
                body.operator.notAfterMs = UInt64(ends.milliseconds)
                let statement = Statement.operatorCertificate(node: certifiedNode ?? key.publicKey, notAfter: ends)
                body.operator.signature = Data(operatorKey.sign(statement))
            }
            return RecordDraft(
                type: .nodeDescriptor, network: LinkHandshakeTests.network, signer: key.publicKey, name: [],
                version: RecordVersion(epoch: 1, sequence: 1), issued: LinkHandshakeTests.now.wall,
                expires: LinkHandshakeTests.now.wall.advanced(byMilliseconds: 3_600_000),
                body: RecordBody.bytes(of: body)
            ).signed(by: key, cryptography: Sodium.shared)
        }

        func handshake(isInitiator: Bool, sees peer: [UInt8], expected: PublicKey? = nil) -> LinkHandshake {
            LinkHandshake(
                configuration: .init(
                    signer: key, network: LinkHandshakeTests.network, cryptography: Sodium.shared,
                    descriptor: descriptor, admission: admission, protocols: protocols),
                isInitiator: isInitiator, nonce: Sodium.shared.randomBytes(32), localSPKI: spki, peerSPKI: peer,
                expected: expected)
        }
    }

    /// Runs both sides until neither has anything to say; how each ended.
    private func run(_ left: LinkHandshake, _ right: LinkHandshake) -> (LinkHandshake.Action?, LinkHandshake.Action?) {
        var sides = [left, right]
        var ends: [LinkHandshake.Action?] = [nil, nil]
        var queue: [(Int, Aisbf_Mesh_V1_LinkFrame)] = []
        for (side, handshake) in sides.enumerated() {
            for case .send(let frame) in handshake.opened(now: Self.now) { queue.append((1 - side, frame)) }
        }
        while let (receiver, frame) = queue.first {
            queue.removeFirst()
            for action in sides[receiver].handle(frame, now: Self.now) {
                switch action {
                case .send(let frame): queue.append((1 - receiver, frame))
                case .knocked: break
                case .established, .failed: if ends[receiver] == nil { ends[receiver] = action }
                }
            }
        }
        return (ends[0], ends[1])
    }

    private func run(_ left: Side, _ right: Side) -> (LinkHandshake.Action?, LinkHandshake.Action?) {
        run(
            left.handshake(isInitiator: true, sees: right.spki), right.handshake(isInitiator: false, sees: left.spki))
    }

    private let left = Side(spki: [UInt8](repeating: 1, count: 32))
    private let right = Side(spki: [UInt8](repeating: 2, count: 32))

    private func peer(_ action: LinkHandshake.Action?) -> PublicKey? {
        guard case .established(let peer, _, let offset)? = action, offset == 0 else { return nil }
        return peer
    }

    @Test func bothSidesLearnTheOther() {
        let ends = run(left, right)
        #expect(peer(ends.0) == right.key.publicKey)
        #expect(peer(ends.1) == left.key.publicKey)
    }

    @Test func aRelayInTheMiddleFailsOnThePins() {
        let middle = [UInt8](repeating: 9, count: 32)
        let ends = run(
            left.handshake(isInitiator: true, sees: middle), right.handshake(isInitiator: false, sees: middle))
        #expect(ends.0 == .failed(.pinMismatch))
        #expect(ends.1 == .failed(.pinMismatch))
    }

    @Test func sidesThatSawOtherCertificatesCannotProve() {
        // The left side's own certificate differs from the one its peer pinned: only the proof shows it.
        var liar = left
        liar.spki = [UInt8](repeating: 3, count: 32)
        let ends = run(
            LinkHandshake(
                configuration: .init(
                    signer: left.key, network: Self.network, cryptography: Sodium.shared, descriptor: left.descriptor,
                    admission: left.admission),
                isInitiator: true, nonce: Sodium.shared.randomBytes(32), localSPKI: liar.spki, peerSPKI: right.spki,
                expected: nil),
            right.handshake(isInitiator: false, sees: left.spki))
        #expect(ends.1 == .failed(.badProof))
    }

    @Test func bothAsInitiatorsCannotReflectAProof() {
        let ends = run(
            left.handshake(isInitiator: true, sees: right.spki), right.handshake(isInitiator: true, sees: left.spki))
        #expect(ends.0 == .failed(.badProof))
    }

    @Test func operatorsAdmitOnlyCertifiedNodes() {
        let boss = SigningKey.random()
        var gate = right
        gate.admission = LinkAdmission(operators: [boss.publicKey])
        #expect(run(left, gate).1 == .failed(.notAdmitted))
        var certified = left
        certified.operatorKey = boss
        #expect(peer(run(certified, gate).1) == left.key.publicKey)
        certified.certificateEnds = -1
        #expect(run(certified, gate).1 == .failed(.badDescriptor))
        certified.certificateEnds = 60_000
        certified.certifiedNode = right.key.publicKey
        #expect(run(certified, gate).1 == .failed(.badDescriptor))
    }

    @Test func refusesStrangersWrongKeysVersionsAndItself() {
        var gate = right
        gate.admission = LinkAdmission(nodes: [SigningKey.random().publicKey])
        #expect(run(left, gate).1 == .failed(.notAdmitted))
        #expect(run(left, gate).0 == .failed(.notAdmitted))
        gate.admission.nodes.append(left.key.publicKey)
        #expect(peer(run(left, gate).1) == left.key.publicKey)
        gate.protocols = 2...3
        #expect(run(left, gate).0 == .failed(.protocolVersion))
        #expect(run(left, left).0 == .failed(.selfLink))
        let wrong = left.handshake(isInitiator: true, sees: right.spki, expected: left.key.publicKey)
        #expect(run(wrong, right.handshake(isInitiator: false, sees: left.spki)).0 == .failed(.wrongKey))
    }

    @Test func theDialledSideSaysNothingOfItselfBeforeItAdmits() throws {
        var gate = right
        gate.admission = LinkAdmission(nodes: [])
        for (side, isAdmitted) in [(gate, false), (right, true)] {
            var dialled = side.handshake(isInitiator: false, sees: left.spki)
            #expect(dialled.opened(now: Self.now).isEmpty)
            let opened = left.handshake(isInitiator: true, sees: right.spki).opened(now: Self.now)
            guard case .send(let hello)? = opened.first else { return #expect(Bool(false), "no hello") }
            let answer = dialled.handle(hello, now: Self.now)
            if isAdmitted {
                #expect(answer.count == 2)
            } else {
                let knock = LinkKnock(node: left.key.publicKey, operatorKey: nil)
                #expect(answer == [.knocked(knock), .send(.goodbye(.notAdmitted)), .failed(.notAdmitted)])
            }
        }
    }

    @Test func framesOutOfOrderAndSilenceFail() {
        var handshake = left.handshake(isInitiator: true, sees: right.spki)
        var drain = Aisbf_Mesh_V1_LinkFrame()
        drain.drain = Aisbf_Mesh_V1_Drain()
        #expect(handshake.handle(drain, now: Self.now).last == .failed(.malformed))
        #expect(handshake.timedOut().isEmpty)
        var silent = left.handshake(isInitiator: true, sees: right.spki)
        #expect(silent.timedOut() == [.failed(.timeout)])
    }

    @Test func framesSurviveAnySplitAndBoundsHold() throws {
        let opened = left.handshake(isInitiator: true, sees: right.spki).opened(now: Self.now)
        guard case .send(let frame)? = opened.first else { return #expect(Bool(false), "no hello") }
        let bytes = try #require(LinkFrameCodec.bytes(of: frame))
        var decoder = LinkFrameCodec.Decoder()
        var frames: [Aisbf_Mesh_V1_LinkFrame] = []
        for byte in bytes + bytes {
            decoder.append([byte])
            while let next = try decoder.next() { frames.append(next) }
        }
        #expect(frames == [frame, frame])
        var push = Aisbf_Mesh_V1_LinkFrame()
        push.push.records = Array(repeating: Data([1]), count: Limits.linkPushRecords + 1)
        for (bad, failure) in [
            ([0xFF, 0xFF, 0xFF, 0xFF], LinkFrameCodec.Failure.oversize), ([0, 0, 0, 0], .empty),
            ([0, 0, 0, 2, 0xFF, 0xFF], .malformed), (try #require(LinkFrameCodec.bytes(of: push)), .tooMany),
        ] as [([UInt8], LinkFrameCodec.Failure)] {
            var decoder = LinkFrameCodec.Decoder()
            decoder.append(bad)
            #expect(throws: failure) { try decoder.next() }
        }
    }
}
