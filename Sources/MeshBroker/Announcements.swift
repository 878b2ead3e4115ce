import MeshModel
internal import OrderedCollections

/// Which of the workers attached here the mesh is told of, when there are more than a node may announce.
///
/// The places are shared like this, so that nobody's number of workers or providers costs anybody else their place:
/// owners take turns, within an owner its providers take turns, and within a provider a worker goes first that offers
/// something which no earlier one does; then come the pages of its models. Among equals, whoever is announced stays; then the one that came first.
/// So a place changes hands only when its worker leaves, when another owner or provider has a better claim to it, or
/// when it shows the mesh something new. While there is room for all, all are announced at once.
struct Announcements: Sendable {
    struct Candidate: Sendable {
        var owner: PublicKey
        var provider: RecordKey
        var since: Timestamp
        /// Names of models and endpoints.
        var offers: [String]
        /// A page of models that had no room in the attachments of its workers.
        var isPage: Bool
        fileprivate(set) var isAnnounced = false

        init(owner: PublicKey, provider: RecordKey, since: Timestamp, offers: [String], isPage: Bool = false) {
            self.owner = owner
            self.provider = provider
            self.since = since
            self.offers = offers
            self.isPage = isPage
        }
    }

    /// What a review changes, by attachment.
    struct Change: Hashable, Sendable {
        var withdrawn: [RecordKey] = []
        var announced: [RecordKey] = []
    }

    private let limit: Int
    private var candidates = DenseTable<RecordKey, Candidate>()
    private var announcedCount = 0
    private var offerCount = 0
    /// When the places are to be given out anew; nil while nothing asks for it.
    private(set) var reviewDue: Instant?
    private var reviewedAt = Instant(nanoseconds: .min)

    init(limit: Int = Limits.attachmentsAnnounced) { self.limit = limit }

    func isAnnounced(_ key: RecordKey) -> Bool { candidates[key]?.isAnnounced ?? false }

    mutating func set(_ candidate: Candidate, for key: RecordKey, now: Instant) {
        let old = candidates[key]
        var candidate = candidate
        candidate.isAnnounced = old?.isAnnounced ?? false
        offerCount += candidate.offers.count - (old?.offers.count ?? 0)
        if old == nil, announcedCount == candidates.count, announcedCount < limit {
            candidate.isAnnounced = true
            announcedCount += 1
        }
        candidates.set(candidate, for: key)
        if old == nil || old?.offers != candidate.offers { becomeDue(now) }
    }

    mutating func remove(_ key: RecordKey, now: Instant) {
        guard let old = candidates.remove(key) else { return }
        offerCount -= old.offers.count
        if old.isAnnounced { announcedCount -= 1 }
        becomeDue(now)
    }

    private mutating func becomeDue(_ now: Instant) {
        guard announcedCount < candidates.count else { return reviewDue = nil }
        // Whoever comes and goes all the time must not keep the mesh busy; what a review costs grows with what there is.
        let intervalMs = max(Limits.announcementReviewMs, Int64(clamping: (offerCount + 16 * candidates.count) / 500))
        if reviewDue == nil { reviewDue = max(now, reviewedAt.advanced(byMilliseconds: intervalMs)) }
    }

    /// Gives out the places anew, when that is due.
    mutating func review(now: Instant) -> Change {
        guard let due = reviewDue, now >= due else { return Change() }
        reviewDue = nil
        reviewedAt = now
        var isChosen = [Bool](repeating: false, count: candidates.count)
        for index in chosen() { isChosen[index] = true }
        var change = Change()
        for (index, key) in candidates.keys.enumerated() where candidates.values[index].isAnnounced != isChosen[index] {
            if isChosen[index] { change.announced.append(key) } else { change.withdrawn.append(key) }
        }
        change.announced.sort()
        change.withdrawn.sort()
        for key in change.withdrawn { candidates.update(key) { $0.isAnnounced = false } }
        for key in change.announced { candidates.update(key) { $0.isAnnounced = true } }
        announcedCount += change.announced.count - change.withdrawn.count
        return change
    }

    // MARK: Sharing

    /// Places in `candidates` of those to announce.
    private func chosen() -> [Int] {
        let all = candidates.values
        let keys = candidates.keys
        func precedes(_ left: Int, _ right: Int) -> Bool {
            if all[left].isAnnounced != all[right].isAnnounced { return all[left].isAnnounced }
            return (all[left].since, keys[left]) < (all[right].since, keys[right])
        }
        var providers: OrderedDictionary<RecordKey, [Int]> = [:]
        for index in all.indices.sorted(by: precedes) { providers[all[index].provider, default: []].append(index) }
        var owners: OrderedDictionary<PublicKey, [[Int]]> = [:]
        for members in providers.values.sorted(by: { precedes($0[0], $1[0]) }) {
            owners[all[members[0]].owner, default: []].append(newFirst(members))
        }
        let claims = owners.values.flatMap { inTurns($0).enumerated() }
        return claims.sorted { $0.offset == $1.offset ? precedes($0.element, $1.element) : $0.offset < $1.offset }
            .prefix(limit).map(\.element)
    }

    /// Those workers first that offer something no earlier one does, then pages, which say nothing without a worker, then
    /// the other workers; otherwise in the order given.
    private func newFirst(_ members: [Int]) -> [Int] {
        var shown: Set<String> = []
        var first: [Int] = []
        var pages: [Int] = []
        var rest: [Int] = []
        for index in members {
            if candidates.values[index].isPage {
                pages.append(index)
                continue
            }
            let offers = candidates.values[index].offers
            if first.count < limit, offers.contains(where: { !shown.contains($0) }) {
                shown.formUnion(offers)
                first.append(index)
            } else {
                rest.append(index)
            }
        }
        return Array((first + pages + rest).prefix(limit))
    }

    /// The first of each, then the second of each, and so on.
    private func inTurns(_ lists: [[Int]]) -> [Int] {
        var merged: [Int] = []
        for turn in 0..<(lists.map(\.count).max() ?? 0) {
            for list in lists where turn < list.count { merged.append(list[turn]) }
            if merged.count >= limit { break }
        }
        return Array(merged.prefix(limit))
    }
}
