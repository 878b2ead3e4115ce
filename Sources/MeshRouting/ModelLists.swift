import MeshModel
import MeshWire
internal import OrderedCollections

/// Puts lists of models together that one attachment did not hold: a worker that says that its list goes on has, beside
/// what its attachment lists, what stands on the pages of its provider that its node signed under the same grant
/// (Docs/Protocol/records.md). A page that nobody goes on with, or one that is missing, changes nothing else.
struct ModelLists {
    struct Place {
        var provider: RecordKey
        var index: Int
        fileprivate var grant: RecordKey
    }

    /// The hosts whose lists go on.
    private(set) var continued: [Place] = []
    /// By grant, which stands for one provider, node and token.
    private var pages: [RecordKey: [(number: UInt32, offers: [Aisbf_Mesh_V1_ModelOffer])]] = [:]
    /// The last list that was put together: the workers of a provider mostly have the same.
    private var last: (grant: RecordKey, begin: ModelList, whole: ModelList)?

    mutating func add(_ body: Aisbf_Mesh_V1_Attachment) {
        guard body.page <= Limits.modelPages, let grant = RecordKey(body.grantKey) else { return }
        pages[grant, default: []].append((body.page, body.models))
    }

    mutating func isContinued(_ body: Aisbf_Mesh_V1_Attachment, in provider: RecordKey, at index: Int) {
        guard let grant = RecordKey(body.grantKey) else { return }
        continued.append(Place(provider: provider, index: index, grant: grant))
    }

    /// The whole list of which `begin` is what the attachment holds.
    mutating func complete(_ begin: ModelList, _ place: Place) -> ModelList {
        if let last, last.grant == place.grant, last.begin == begin { return last.whole }
        var known = Set(begin.map(\.id))
        var models = Array(begin)
        for page in pages[place.grant, default: []].sorted(by: { $0.number < $1.number }) {
            for offer in page.offers where models.count < Limits.providerModels && known.insert(offer.id).inserted {
                models.append(WorkerModel(offer))
            }
        }
        let whole = ModelList(models)
        last = (place.grant, begin, whole)
        return whole
    }
}
