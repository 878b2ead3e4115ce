package import MeshAccounting
import MeshModel

/// What the limits of a request's subjects would say to it now.
package struct QuotaOutlook: Sendable {
    package var standings: [(subject: QuotaSubject, standing: QuotaStanding)]
    /// The one that would refuse it.
    package var refusal: QuotaRefusal?

    package init(standings: [(subject: QuotaSubject, standing: QuotaStanding)] = [], refusal: QuotaRefusal? = nil) {
        self.standings = standings
        self.refusal = refusal
    }
}
