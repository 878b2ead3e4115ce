/// What this program allows itself, one name per bound. `Docs/Reference/limits.md` explains each.
/// Limits bound the program; quotas (what a principal may use) are data.
package enum Limits {
    // Records (Docs/Protocol/records.md)
    package static let recordBodyBytes = 4_096
    package static let recordHeaderBytes = 96
    package static let recordSignatureBytes = 64
    package static let recordBytes = recordHeaderBytes + recordBodyBytes + recordSignatureBytes
    package static let recordFutureSkewMs: Int64 = 120_000
    package static let recordEpochAheadMinutes: UInt32 = 5
    package static let recordExpiryGraceMs: Int64 = 60_000
    package static let recordsStored = 200_000
    package static let recordsReadAtOnce = 256
    package static let providersPerOwner = 64
    package static let attachmentsPerNode = 256
    package static let attachmentsAnnounced = 240
    package static let attachmentModels = 256
    package static let modalities = 8
    package static let hardwareNameBytes = 64
    package static let quantizationBytes = 32
    package static let parametersListed = 64
    package static let modelPages = 128
    package static let hostsPerProvider = 8
    package static let sealedReaders = 104
    package static let sealedWaiting = 4_096
    package static let sealedKeysTried = 4_096
    package static let clockOffsetMs: Int64 = 60_000

    // Translating between dialects (Docs/Decisions/0046-messages-pass-or-become-a-chat.md, 0052)
    package static let translationWarnings = 16
    package static let translatedCalls = 128
    package static let translatedTools = 1_024
    package static let translatedTurns = 16_384
    package static let lastModels = 8_192
    package static let translatedHeldBytes = 1 << 20
    package static let translatedAnswerBytes = 16 << 20

    // Pools (Docs/Architecture/pools.md)
    package static let pools = 1_024
    package static let poolLookMs: Int64 = 250
    package static let poolMembers = 64
    package static let poolMemberBytes = 256
    package static let poolNodes = 256
    package static let poolDepth = 4
    package static let poolTiers = 8
    package static let poolWeight = 10_000
    package static let poolAttempts = 8
    package static let poolSeats = 65_536
    package static let poolSeatsPerMember = 16
    package static let poolCooldownMs: Int64 = 3_600_000
    package static let poolFullAttempts = 3
    package static let poolOverflowAttempts = 3
    package static let poolFullMs: Int64 = 1_000
    package static let poolFullLongestMs: Int64 = 8_000
    package static let poolRampMs: Int64 = 30_000
    package static let poolProbeMs: Int64 = 30_000
    package static let poolProbeWaitMs: Int64 = 5_000
    package static let poolEarlyAskMs: Int64 = 5_000
    package static let poolSessions = 16_384
    package static let poolPinFullMs: Int64 = 30_000
    package static let poolQueue = 1_024
    package static let poolQueueMs: Int64 = 30_000
    package static let poolPriorities = 3
    package static let poolOfferMs: Int64 = 2_000
    package static let poolWakeMs: Int64 = 250
    package static let poolRetryAfterSeconds: Int64 = 30
    package static let poolWordsBytes = 200
    package static let retryPercent = 10
    package static let retryBudget = 100
    package static let routeRetryBudget = 1_024
    package static let routeRetryReserve = 100
    package static let retryReserve = 10
    package static let retryReserveMs: Int64 = 60_000

    // What owners publish (Docs/Decisions/0028-what-is-published-goes-as-an-advert.md)
    package static let publicationBytes = 3_584
    package static let publicationsPerOwner = 32
    package static let publishedPools = 256
    // Idempotency keys (Docs/Decisions/0042-an-idempotency-key-is-kept-where-it-is-called.md)
    package static let idempotencyKeyBytes = 255
    package static let idempotencyKeys = 16_384
    package static let idempotencyKeysPerOwner = 1_024
    package static let idempotencyBytes = 64 << 20
    package static let idempotencyAnswerBytes = 1 << 20
    package static let idempotencyMs: Int64 = 3_600_000

    // Quotas (Docs/Decisions/0037-quotas-are-held-and-taken-in-slices.md)
    package static let quotas = 4_096
    package static let quotaAmount: Int64 = 1 << 60
    package static let quotaListed = 64
    package static let quotaPatternBytes = 256
    package static let quotaAssumedAnswer: Int64 = 2_048
    package static let quotaAssumedMediaMs: Int64 = 60_000
    package static let quotaSlotMs: Int64 = 1_000
    package static let quotaSliceParts: Int64 = 8
    package static let quotaSliceTokens: Int64 = 32_768
    package static let quotaSliceMoney: Int64 = 400_000
    package static let quotaAheadMs: Int64 = 120_000
    package static let quotaGrantMs: Int64 = 250
    package static let quotaSweepMs: Int64 = 1_000

    // Usage (Docs/Operations/usage.md)
    package static let usageGroups = 8_192
    package static let usageWriteMs: Int64 = 5_000
    package static let usageMinuteDays: Int64 = 2
    package static let usageDays: Int64 = 400
    package static let usageRows = 10_000
    package static let usageBuckets: Int64 = 1_440
    package static let generations = 16_384
    package static let generationMs: Int64 = 3_600_000
    package static let generationIDBytes = 128
    package static let meteredDocumentBytes = 262_144

    // Buyer API
    package static let requestHeaderBytes = 16 << 10
    package static let requestBodyBytes = 8 << 20
    package static let readAheadBytes = 16 << 10
    package static let tlsHandshakeMs: Int64 = 10_000
    package static let requestHeadMs: Int64 = 10_000
    package static let coldBodyBytes = 64 << 10
    package static let requestBodyMs: Int64 = 60_000
    package static let connectionIdleMs: Int64 = 75_000
    package static let connectionPatrolMs: Int64 = 5_000
    package static let readBytes = 64 << 10
    package static let readPieceBytes = 16 << 10
    package static let changeWaitMs: Int64 = 2_000
    package static let streamBurstBytes = 4 << 20
    package static let streamBurstMs: Int64 = 3_000
    package static let lingerMs: Int64 = 2_000
    package static let connections = 32_768
    package static let connectionNewcomers = 4_096
    package static let connectionNewcomersPerAddress = 2_048
    package static let operatorConnections = 64
    package static let filesReserved = 1_024
    package static let jsonDepth = 128
    package static let inflatedRatio = 256
    package static let inflatedFreeBytes = 1 << 20
    package static let inflatedWindowLog: Int32 = 23
    package static let jsonScanDepth = 16_384
    package static let authenticationCacheEntries = 16_384
    package static let wrongKeysPerMinute = 60
    package static let refusedCallers = 16_384
    package static let coldRoutesAtOnce = 256
    package static let routesRemembered = 8_192
    package static let clientRequestIDBytes = 128
    package static let listingsRemembered = 8
    package static let nearNamesExamined = 2_048
    package static let nearNamesCompared = 64
    package static let nearNameEdits = 16

    // Names (Docs/Protocol/names.md)
    package static let namesKept = 65_536
    package static let namesPerNode = 4_096
    package static let nameUnusedMs: Int64 = 90 * 86_400_000
    package static let nameConflicts = 1_024
    package static let namesUsedAtOnce = 4_096

    // Worker sessions
    package static let workerFrameBytes = 16 << 20
    package static let workerRequestFrameBytes = 1 << 20
    package static let workerRegisterMs: Int64 = 30_000
    package static let workerGreetingGraceMs: Int64 = 1_500
    package static let workerPingIntervalMs: Int64 = 5_000
    package static let workerSilenceMs: Int64 = 9_000
    package static let workerHeartbeatIntervalMs: Int64 = 20_000
    package static let workerRegistrationMs: Int64 = 86_400_000
    package static let workerQuestionMs: Int64 = 30_000
    package static let workerQuestionPauseMs: Int64 = 5_000
    package static let workerQuestionLongestPauseMs: Int64 = 60_000
    package static let workerCapabilityAttempts = 3
    package static let workerCapabilityBytes = 64 << 10
    package static let workerHardwareExtraBytes = 4 << 10
    package static let workerHardwareNewsMs: Int64 = 10_000
    package static let workerSlots = 1_024
    package static let workerClientIDBytes = 128
    package static let workerRequestIDBytes = 1_024
    package static let workerRequestsAtOnce = 1_024
    package static let workerSessionsPerOwner = 8_192
    package static let workerSessions = 20_000
    package static let workerBadFrames = 100
    package static let workerBadFrameWindowMs: Int64 = 60_000
    package static let workerModels = 4_096
    package static let workerListAnswerBytes = 4 << 20
    package static let workerModelsScanned = 65_536
    package static let workerModelsShort = 256
    package static let workerModelsTogether = 1 << 20
    package static let workerModelsRefreshMs: Int64 = 60_000
    package static let workerPendingMs: Int64 = 600_000
    package static let workerRegisterBytes = 1 << 20
    package static let workerRegistersPer10s = 10
    package static let workerRegisterWindowMs: Int64 = 10_000
    package static let workerRefusalsPerMinute = 60
    package static let refusalWindowMs: Int64 = 60_000
    package static let workerRefusalsPerCaller = 600
    package static let workerAdmissionsPerSecond = 200
    package static let workerAdmissionsBurst = 400
    package static let workerRetryAfterSeconds = 30

    // Registration tokens (Docs/Protocol/tokens.md)
    package static let importedTokenCharacters = 16
    package static let importedTokenBytes = 512
    package static let importedTokenProviders = 4
    package static let importedTokenGuesses = 60
    package static let attachKeyProofsPerRound = 64
    package static let tokenDerivationsAtOnce = 2
    package static let tokenDerivationsQueued = 64
    package static let tokenDerivationsKept = 4_096
    package static let tokenLifeSeconds: Int64 = 3_650 * 86_400
    package static let tokenOverlapSeconds: Int64 = 30 * 86_400

    // Deadlines of one request
    package static let firstContentMs: Int64 = 120_000
    package static let streamIdleMs: Int64 = 120_000
    package static let requestTotalMs: Int64 = 1_800_000
    package static let attemptGraceMs: Int64 = 1_000
    package static let pendingPatience: Int64 = 5
    package static let pendingSignMs: Int64 = 1_000
    package static let refusalBytes = 64 << 10
    package static let eventsBeforeContent = 64

    // Streams
    package static let streamBufferBytes = 256 << 10
    package static let answerPieceBytes = 64 << 10
    package static let streamBlockedMs: Int64 = 30_000
    package static let keepAliveMs: Int64 = 10_000
    package static let errorWordsBytes = 8 << 10
    package static let eventBytes = 16 << 20
    package static let streamTailMs: Int64 = 500

    // Proxied operations and bulk answers (Docs/Protocol/worker-session.md)
    package static let workerCloseLingerMs: Int64 = 1_000
    package static let sessionEndsKept = 16
    package static let sessionEndProviders = 4_096
    package static let pendingIntervalFloorMs: Int64 = 30_000
    package static let uploadBodyBytes = 11 << 20
    package static let heldBodiesBytes = 512 << 20
    package static let modelNameBytes = 512
    package static let uploadHeldBytes = 1 << 20
    package static let uploadPieceBytes = 64 << 10
    package static let uploadWindowBytes = 256 << 10
    package static let uploadCreditBytes = 1 << 30
    package static let uploadPaceBytes = 64 << 10
    package static let uploadPaceMs: Int64 = 60_000
    package static let uploadStreamBytes: Int64 = 1 << 36
    package static let uploadHeadBytes = 128 << 10
    package static let watchedFieldBytes = 4 << 10
    package static let answerBytes: Int64 = 1 << 40
    package static let answerWindowBytes = 1 << 20
    package static let answerFrameBytes = 64 << 10
    package static let answerHeldBytes = workerFrameBytes + (1 << 20)
    package static let eventsPerRead = 65_536
    package static let chunkPieces = 4_096
    package static let workerEndpoints = 64
    package static let workersCompared = 3
    package static let workerRestMs: Int64 = 1_000
    package static let workerRestLongestMs: Int64 = 30_000
    package static let workersScanned = 512
    package static let workerUnsentBytes = workerFrameBytes
    /// A longer message to a worker leaves in fragments of at most so many bytes, between which pings pass.
    package static let workerFragmentBytes = 128 << 10
    /// In how many frames a message of a WebSocket may come.
    package static let workerFragments = 4_096
    package static let workerHeldBytes = 64 << 20
    package static let formFieldBytes = 1 << 20
    package static let hungRequestMs: Int64 = 30_000
    package static let failedRequestCostMs: Int64 = 10_000
    package static let performanceSamples = 100
    package static let performanceWorkers = 20_000
    package static let speedsPerProvider = 256
    package static let providerModels = 4_096
    package static let speedReportMs: Int64 = 60_000

    // The node's own parts
    package static let controlInbox = 65_536
    package static let alarmShortestMs: Int64 = 2
    package static let alarmLongestMs: Int64 = 60_000
    package static let catalogIntervalMs: Int64 = 20
    package static let signingsPerCommit = 256
    package static let signingRetryMs: Int64 = 5_000
    package static let evictedRetryMs: Int64 = 60_000
    package static let recordIntervalMs: Int64 = 1_000
    package static let recordChangesAtOnce: Int64 = 4
    package static let recordRefreshMs: Int64 = 24 * 3_600_000
    package static let attachmentRefreshMs: Int64 = 12 * 3_600_000
    package static let announcementReviewMs: Int64 = 1_000
    package static let namesRetryMs: Int64 = 1_000
    package static let nameBatchesInARow = 4
    package static let cacheChangesWaiting = 65_536
    package static let drainMs: Int64 = 30_000
    package static let drainRecordsMs: Int64 = 2_000
    package static let storeBusyMs = 5_000

    // Store: what one node keeps in its database
    package static let usersStored = 100_000
    package static let apiKeysPerUser = 256
    package static let attachKeysPerProvider = 16
    package static let namedOwnersPerProvider = 64
    package static let peersStored = 4_096
    package static let meshRulesStored = 1_024
    package static let labelBytes = 128
    package static let metaValueBytes = 4_096
    package static let keyFileBytes = 16_384
    package static let storeReaders = 4
    package static let storeRoomBytes: Int64 = 1 << 20
    package static let storeLeastRoomBytes: Int64 = 64 << 10

    // Telemetry
    package static let metricSeries = 10_000
    package static let logMessageBytes = 8_192
    package static let logEventsPerSecond = 10
    package static let logEventsBurst = 200
    package static let metricModels = 128
    package static let metricLabelBytes = 128
    // What `aisbf doctor` warns of
    package static let diskFreeBytes: UInt64 = 64 << 20
    package static let diskProbeBytes = 64 << 10
    package static let certificateWarningDays: Int64 = 14
    // Worker agent (Docs/Protocol/worker-agent.md)
    package static let workerAgentRequestsAtOnce = 256
    package static let workerAgentPingIntervalMs: Int64 = 10_000
    package static let workerAgentSilenceMs: Int64 = 20_000
    package static let workerAgentHeartbeatMs: Int64 = 30_000
    package static let workerAgentPendingMs: Int64 = 30_000
    package static let workerAgentDialMs: Int64 = 10_000
    package static let workerAgentHandshakeMs: Int64 = 15_000
    package static let workerBackendConnectMs: Int64 = 2_000
    package static let workerBackendIdleMs: Int64 = 600_000
    package static let workerBackendInflatedBytes = 64 << 20
    package static let workerBackendErrorBytes = 64 << 10
    package static let workerBackendRedirects = 3
    package static let workerHardwareMs: Int64 = 5_000
    package static let workerModelListBytes = 8 << 20
    package static let workerModelListMs: Int64 = 20_000
    package static let workerModelsIntervalMs: Int64 = 60_000
    package static let workerModelsRetryMs: Int64 = 5_000
    package static let workerDrainNoticeMs: Int64 = 2_000
    package static let workerSummaryMs: Int64 = 60_000
    package static let workerFailureLinesPerMinute = 60
    package static let workerAgentWholeBytes = 256 << 10
    package static let workerAgentFragments = 16_384
    package static let workerStableMs: Int64 = 60_000
    package static let workerBackOffMs: Int64 = 60_000
    package static let workerRestartBackOffMs: Int64 = 5_000
    package static let workerAgentAnswerBytes = workerFrameBytes / 2

    // Upstreams of this node's own (Docs/Operations/upstreams.md)
    package static let upstreamURLBytes = 512
    package static let upstreamKeyBytes = 2_048
    package static let upstreamRequestsAtOnce = 1_024
    package static let upstreamFailureLinesPerMinute = 60
    package static let upstreamAlarmMs: Int64 = 60_000
    package static let backendPatienceMs: Int64 = 300_000
    package static let upstreamAddressRanges = 64
    package static let upstreamAddressesTried = 3
    package static let upstreamNameMs: Int64 = 10_000
    package static let upstreamKeys = 16
    package static let refusedKeyRestMs: Int64 = 1_800_000
    package static let refusedKeyTrialMs: Int64 = 60_000
    package static let upstreamKeyLimitedSeconds = 5
    package static let upstreamSecretBytes = 8
    package static let upstreamHeaders = 16
    package static let upstreamHeaderNameBytes = 64
    package static let upstreamHeaderBytes = 2_048
    package static let upstreamRenamedModels = 64
    package static let upstreamColdStartSeconds = 1_800
    package static let sleeperRetryAfterSeconds = 5
    package static let upstreamHeldRequests = 256
    package static let upstreamWakePauseMs: Int64 = 500
    package static let upstreamWakePauseLongestMs: Int64 = 5_000
    package static let upstreamWakeLookMs: Int64 = 100
    package static let upstreamRetryLongestMs: Int64 = 30_000
    package static let upstreamSleeperLookMs: Int64 = 3_600_000

    // Multipart bodies (RFC 7578)
    package static let multipartParts = 256
    package static let multipartHeaderBytes = 8 << 10

    // Prices and policies (Docs/Reference/policies.md)
    package static let highestPrice: Int64 = 1_000_000_000_000_000
    package static let advertPrices = 32
    package static let routingFieldBytes = 16 << 10
    package static let routingNames = 64
    package static let routingNameBytes = 256
    package static let fallbackModels = 16
    package static let sessionIDBytes = 256
    package static let policyFailures = 3
    package static let policyRestMs: Int64 = 30_000
    package static let policyRestLongestMs: Int64 = 600_000
    package static let policyTroubles = 4_096
    package static let holdMs: Int64 = 30_000
    package static let holdLongestMs: Int64 = 300_000
    package static let heldRequests = 1_024
    package static let heldPerName = 64
    package static let departures = 256
    package static let departureMs: Int64 = 600_000
    package static let policiesPerScope = 64
    package static let policyChoices = 16
    package static let policyCandidatesAtOnce = 1_000
    package static let explainedCandidates = 1_024
    package static let resumeTextBytes = 256 << 10
    package static let tokenRatios = 1_024
}
