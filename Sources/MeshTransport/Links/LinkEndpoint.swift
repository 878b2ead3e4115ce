package import MeshGossip
package import MeshModel
package import NIOCore
internal import NIOPosix
internal import Synchronization

/// All links of one node: its listener, its dials, and which established link leads to whom.
package final class LinkEndpoint: Sendable {
    package struct Configuration: Sendable {
        package var signer: any MessageSigner
        package var network: NetworkID
        package var cryptography: any RecordCryptography
        package var identity: TLSIdentity
        package var admission: LinkAdmission
        /// This node's current descriptor record, verbatim; asked for at every handshake.
        package var descriptor: @Sendable () -> [UInt8]
        package var now: @Sendable () -> Now
        package var timing: Timing
        /// What it speaks, the preferred one first.
        package var protocols: [LinkProtocol]

        package init(
            signer: any MessageSigner, network: NetworkID, cryptography: any RecordCryptography,
            identity: TLSIdentity, admission: LinkAdmission, descriptor: @escaping @Sendable () -> [UInt8],
            now: @escaping @Sendable () -> Now, timing: Timing = Timing(),
            protocols: [LinkProtocol] = LinkProtocol.allCases
        ) {
            self.signer = signer
            self.network = network
            self.cryptography = cryptography
            self.identity = identity
            self.admission = admission
            self.descriptor = descriptor
            self.now = now
            self.timing = timing
            self.protocols = protocols
        }
    }

    /// Milliseconds; tests shorten them.
    package struct Timing: Sendable {
        package var dialMs = Limits.linkDialMs
        package var tlsMs = Limits.linkTLSMs
        package var handshakeMs = Limits.linkHandshakeMs
        package var pingIntervalMs = Limits.linkPingIntervalMs
        package var pingTimeoutMs = Limits.linkPingTimeoutMs

        package init() {}
    }

    private struct State {
        var lastLinkID: UInt64 = 0
        /// Links on which forwards may be opened, per peer, the newest last.
        var forwardLinks: [PublicKey: [Link]] = [:]
        var links: [Link] = []
        var channels: [ObjectIdentifier: any Channel] = [:]
        var listener: (any Channel)?
        /// Accepted connections that are links.
        var accepted = 0
        var dials = 0
        var known = KnownAddresses()
        var admission: LinkAdmission
        var isClosed = false
    }

    let delegate: any LinkDelegate
    private let configuration: Configuration
    private let group: any EventLoopGroup
    private let tls: LinkTLS
    private let state: Mutex<State>
    private let places = HandshakePlaces(
        bounds: .init(
            total: Limits.linkHandshakes, perAddress: Limits.linkHandshakesPerAddress,
            reserved: Limits.linkHandshakesReserved))

    /// - Throws: when the identity's key and certificate do not fit each other.
    package init(configuration: Configuration, group: any EventLoopGroup, delegate: any LinkDelegate) throws {
        self.configuration = configuration
        self.group = group
        self.delegate = delegate
        tls = try LinkTLS(identity: configuration.identity, protocols: configuration.protocols)
        state = Mutex(State(admission: configuration.admission))
    }

    package var spkiHash: [UInt8] { configuration.identity.spkiHash }
    var timing: Timing { configuration.timing }
    func now() -> Now { configuration.now() }

    /// Counts for later handshakes; established links stay.
    package func setAdmission(_ admission: LinkAdmission) { state.withLock { $0.admission = admission } }

    /// Addresses whose connections find a place whoever else knocks; those of links are known by themselves.
    package func setKnownAddresses(_ hosts: [String]) {
        let groups = hosts.compactMap { try? SocketAddress(ipAddress: $0, port: 0) }.map {
            NetworkAddress.group(of: $0)
        }
        state.withLock { $0.known.configured = groups }
    }

    /// Accepted connections that are no links yet.
    package var handshakes: Int { places.count }

    /// Listens; port 0 takes any free one. The result is the port. Whoever connects before this node has a descriptor to
    /// show waits in the system's queue until `accept`: a handshake without one would be refused as a forgery.
    package func bind(host: String, port: Int) -> EventLoopFuture<Int> {
        let bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 256)
            .serverChannelOption(.autoRead, value: false)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in self.initialise(accepted: channel) }
        return bootstrap.bind(host: host, port: port).map { channel in
            self.state.withLock { $0.listener = channel }
            self.accept()
            return channel.localAddress?.port ?? port
        }
    }

    /// This node has a descriptor, or has a newer one.
    package func accept() {
        guard !configuration.descriptor().isEmpty else { return }
        state.withLock { $0.listener }?.setOption(.autoRead, value: true).whenFailure { _ in }
    }

    /// Dials `host:port` (IPv6 in brackets). Ends in `linkEstablished` or `dialFailed`.
    package func dial(address: String, expected: PublicKey?) {
        let target = LinkTarget(dialled: true, address: address, expected: expected)
        let admitted = state.withLock { state in
            if state.isClosed || state.dials >= Limits.linkDials { return false }
            state.dials += 1
            return true
        }
        guard admitted else {
            return delegate.dialFailed(address: address, expected: expected, reason: .tooManyLinks, byPeer: false)
        }
        guard let (host, port) = Self.parse(address) else { return attemptFailed(target, .unreachable) }
        ClientBootstrap(group: group)
            .connectTimeout(.milliseconds(timing.dialMs))
            .channelInitializer { channel in self.initialise(dialled: channel, target) }
            .connect(host: host, port: port)
            .whenFailure { self.attemptFailed(target, LinkFailure(connecting: $0)) }
    }

    /// An established link on which forwards to `peer` can be opened; of several the one on `eventLoop`, where nothing has to
    /// change threads, else the newest.
    package func link(to peer: PublicKey, on eventLoop: (any EventLoop)? = nil) -> Link? {
        state.withLock { state in
            guard let links = state.forwardLinks[peer] else { return nil }
            return links.last { $0.eventLoop === eventLoop } ?? links.last
        }
    }

    /// Every established link, oldest first.
    package var links: [Link] { state.withLock { $0.links } }

    /// Stops listening and sends GOAWAY on every link; each closes when its forwards are done.
    package func drain() {
        let (listener, links) = state.withLock { state in
            state.isClosed = true
            defer { state.listener = nil }
            return (state.listener, state.links)
        }
        listener?.close(promise: nil)
        for link in links { link.drain() }
    }

    /// Closes everything after `delayMs`, or now; done when every socket is closed. Behind `drain` the peers close theirs
    /// as soon as they have read the goodbye.
    package func shutdown(afterMs delayMs: Int64 = 0) -> EventLoopFuture<Void> {
        let channels = state.withLock { state in
            state.isClosed = true
            defer { state.listener = nil }
            return Array(state.channels.values) + (state.listener.map { [$0] } ?? [])
        }
        let closed = EventLoopFuture.andAllComplete(channels.map(\.closeFuture), on: group.next())
        let late = closed.eventLoop.scheduleTask(in: .milliseconds(delayMs)) {
            for channel in channels { channel.close(promise: nil) }
        }
        closed.whenComplete { _ in late.cancel() }
        return closed
    }
}

// What connections ask of their endpoint.
extension LinkEndpoint {
    func handshakeConfiguration() -> LinkHandshake.Configuration {
        LinkHandshake.Configuration(
            signer: configuration.signer, network: configuration.network, cryptography: configuration.cryptography,
            descriptor: configuration.descriptor(), admission: state.withLock { $0.admission })
    }

    func nextLinkID() -> LinkID {
        state.withLock { state in
            state.lastLinkID += 1
            return LinkID(raw: state.lastLinkID)
        }
    }

    /// Whether one more accepted connection may become a link.
    func hasRoom(for target: LinkTarget) -> Bool {
        target.dialled || state.withLock { $0.accepted < Limits.linksAccepted }
    }

    func list(_ link: Link, _ target: LinkTarget, remote: SocketAddress?) {
        let isFirst = target.conclude()
        target.leavePlace()
        state.withLock { state in
            state.known.add(NetworkAddress.group(of: remote))
            if isFirst, link.dialled { state.dials -= 1 }
            if !link.dialled { state.accepted += 1 }
            state.links.append(link)
            if link.opensForwards { state.forwardLinks[link.peer, default: []].append(link) }
        }
    }

    func unlist(_ link: Link) {
        state.withLock { state in
            guard let index = state.links.firstIndex(where: { $0 === link }) else { return }
            state.links.remove(at: index)
            state.forwardLinks[link.peer]?.removeAll { $0 === link }
            if state.forwardLinks[link.peer]?.isEmpty == true { state.forwardLinks[link.peer] = nil }
        }
    }

    /// The connection of an established link is gone.
    func closed(_ link: Link) {
        unlist(link)
        if !link.dialled { state.withLock { $0.accepted -= 1 } }
    }

    func attemptFailed(
        _ target: LinkTarget, _ failure: LinkFailure, byPeer: Bool = false, knock: LinkKnock? = nil
    ) {
        guard target.conclude() else { return }
        guard target.dialled else {
            return delegate.acceptFailed(remote: target.address, reason: failure, knock: knock)
        }
        state.withLock { $0.dials -= 1 }
        delegate.dialFailed(address: target.address, expected: target.expected, reason: failure, byPeer: byPeer)
    }

    private func initialise(accepted channel: any Channel) -> EventLoopFuture<Void> {
        let target = LinkTarget(dialled: false, address: NetworkAddress.text(of: channel.remoteAddress), expected: nil)
        let group = NetworkAddress.group(of: channel.remoteAddress)
        let (isClosed, isKnown) = state.withLock { ($0.isClosed, $0.known.contains(group)) }
        let refuse: @Sendable () -> Void = {
            self.attemptFailed(target, .tooManyLinks)
            channel.close(promise: nil)
        }
        guard !isClosed, let place = places.take(address: group, isKnown: isKnown, evict: refuse) else {
            attemptFailed(target, isClosed ? .draining : .tooManyLinks)
            return channel.eventLoop.makeFailedFuture(LinkFailure.tooManyLinks)
        }
        target.take(place)
        channel.closeFuture.whenComplete { _ in target.leavePlace() }
        return channel.eventLoop.makeCompletedFuture {
            let certificate = PeerCertificate()
            try self.install(self.tls.serverHandler(peer: certificate), certificate, channel, target)
        }
    }

    private func initialise(dialled channel: any Channel, _ target: LinkTarget) -> EventLoopFuture<Void> {
        channel.eventLoop.makeCompletedFuture {
            let certificate = PeerCertificate()
            try self.install(self.tls.clientHandler(peer: certificate), certificate, channel, target)
        }
    }

    private func install(
        _ handler: some ChannelHandler, _ certificate: PeerCertificate, _ channel: any Channel, _ target: LinkTarget
    ) throws {
        let key = ObjectIdentifier(channel)
        state.withLock { $0.channels[key] = channel }
        channel.closeFuture.whenComplete { _ in _ = self.state.withLock { $0.channels.removeValue(forKey: key) } }
        try channel.pipeline.syncOperations.addHandler(handler)
        try channel.pipeline.syncOperations.addHandler(
            LinkGate(endpoint: self, target: target, certificate: certificate))
    }

    /// `host:port` or `[v6]:port`.
    package static func parse(_ address: String) -> (host: String, port: Int)? {
        guard let colon = address.lastIndex(of: ":"), let port = Int(address[address.index(after: colon)...]),
            (1...65_535).contains(port)
        else { return nil }
        var host = address[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        return host.isEmpty ? nil : (String(host), port)
    }
}
