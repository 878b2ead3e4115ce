/// Between nodes: links, gossip and forwarded requests.
extension Limits {
    // Links
    package static let linkFrameBytes = 1 << 20
    package static let linkPushRecords = 16
    package static let linkHops: UInt32 = 16
    package static let linkRecordsPerSecond = 200
    package static let linkBytesPerSecond = 256 << 10
    package static let linkFramesPerSecond = 400
    package static let linkRoundsPerSecond = 10
    package static let linkComparisonsPerSecond = 2_000_000
    package static let linkFloodSeconds: Int64 = 15
    package static let linkInboxBytes = 1 << 20
    package static let linkInboxFrames = 1_024
    package static let linkRejectsBeforeClose = 10
    package static let linkRejectWindowMs: Int64 = 600_000
    package static let linkOutboxBytes = 8 << 20
    package static let linkTLSMs: Int64 = 5_000
    package static let linkHandshakeMs: Int64 = 5_000
    package static let linkHandshakes = 256
    package static let linkHandshakesPerAddress = 64
    package static let linkHandshakesReserved = 96
    package static let linkAttemptsKept = 1_024
    package static let linkKnocksKept = 32
    package static let linkNewsMs: Int64 = 600_000
    package static let linkRefusalLines = 30
    package static let linkRefusalWindowMs: Int64 = 60_000
    package static let linkKnownAddresses = 256
    package static let linkControlFramesPer30s = 200
    package static let linkDialMs: Int64 = 2_000
    package static let reachMs: Int64 = 2_000
    package static let reachAgainMs: Int64 = 1_000
    package static let reachWaiters = 1_024
    package static let linkPingIntervalMs: Int64 = 3_000
    package static let linkPingTimeoutMs: Int64 = 5_000
    package static let linksAccepted = 256
    package static let linkStreams = 1_024
    package static let linkStreamResetsPer30s = 5_000

    // Forwarded requests
    package static let forwardLifetimeMs: Int64 = 60_000
    package static let forwardNonces = 1 << 20
    package static let forwardsCheckedTogether = 16
    /// Of the bodies of those: what is more is checked on another thread.
    package static let forwardBytesCheckedInPlace = 64 << 10
    package static let forwardNonceMs: Int64 = 150_000
    package static let forwardHops = 1
    package static let principalProofMs: Int64 = 600_000
    package static let principalProofSpareMs: Int64 = 60_000
    package static let principalProofKeptMs: Int64 = 60_000
    package static let forwardAttempts = 3
    package static let repeatsByHost = 1
    package static let hostsCompared = 12
    package static let hostScores = 4_096
    package static let hostErrorBytes = 16 << 10
    package static let foreignWordsBytes = 500
    package static let retryAfterSeconds = 3_600
    package static let capacityRetrySeconds = 30
    package static let obeyedRetrySeconds = 60
    package static let passedHeaders = 16
    package static let crossOrigins = 32
    package static let preflightHeaders = 64
    package static let preflightSeconds = 600

    // Gossip (Docs/Protocol/gossip.md)
    package static let linkSummaries = 512
    package static let linkSignatureChecksPerSecond = 200
    package static let linkBurstSeconds = 5
    package static let linkKnownRecords = 2_048
    package static let linkRejectBlockMs: Int64 = 600_000
    package static let linkRejectBlockLongestMs: Int64 = 86_400_000
    package static let syncRangesPerFrame = 256
    package static let syncListEntries = 16
    package static let syncSplit = 16
    package static let syncSteps = 12
    package static let syncRoundMs: Int64 = 10_000
    package static let gossipPendingRecords = 8_192
    package static let gossipOrphanTombstones = 2_048
    package static let gossipWants = 8_192
    package static let gossipWantsPerLink = 1_024
    package static let gossipWantSources = 4
    package static let gossipBlockedPeers = 4_096
    package static let gossipLeases = 16_384
    package static let gossipDialTargets = 16_384
    package static let providersPerHome = 4_096
    package static let nodesPerOperator = 1_024
    package static let providersPerOperator = 8_192
    package static let grantsPerOperator = 16_384
    package static let attachmentsPerOperator = 16_384
    package static let linksPerOperator = 64
    package static let descriptorAddresses = 8
    package static let descriptorPins = 8
    package static let advertAttachKeys = 32
    package static let advertNamedKeys = 64
    package static let attachKeyHosts = 32
    package static let attachmentEndpoints = 64
    package static let recordTextBytes = 255
    // Link transport
    package static let linkFrameSummaries = 4_096
    package static let linkFrameRanges = 1_024
    package static let linkFrameRecords = 512
    package static let linkStreamWindowBytes = 256 << 10
    package static let linkConnectionWindowBytes = 8 << 20
    package static let linkStreamWriteBytes = 256 << 10
    package static let linkFramePayloadBytes = 16 << 10
    package static let linkTurnBytes = 256 << 10
    package static let linkFields = 128
    package static let linkHeaderBytes = 16 << 10
    package static let linkGoodbyeMs: Int64 = 500
    package static let linkDials = 64
    package static let signatureHeaderBytes = 2_048
    package static let sharedSignatureMessages = 64
    /// Nodes whose keys' texts are remembered.
    package static let nodeKeyTexts = 4_096
    package static let sharedSignaturesKnown = 1_024
}
