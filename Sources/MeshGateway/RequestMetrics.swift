import MeshModel
import Metrics
import Synchronization

/// How long requests took, and how many each provider's model had. The labels of a model are what its seller called it:
/// the first `Limits.metricModels` of them have series of their own, all others share one.
package final class RequestMetrics: Sendable {
    /// What was asked for.
    enum Kind: String, CaseIterable, Sendable {
        case chat
        case proxy
        case other
    }

    private struct Name: Hashable {
        var provider: String
        var model: String
    }

    private struct ModelSeries: Sendable {
        let served: Counter
        let failed: Counter
        let duration: Timer

        init(_ name: Name) {
            let labels = [("provider", name.provider), ("model", name.model)]
            served = Counter(label: "aisbf_model_requests_total", dimensions: labels + [("result", "ok")])
            failed = Counter(label: "aisbf_model_requests_total", dimensions: labels + [("result", "failed")])
            duration = Timer(label: "aisbf_model_request_seconds", dimensions: labels)
        }
    }

    private let whole: [Kind: Timer]
    private let beginnings: [Kind: Timer]
    private let models = Mutex<[Name: ModelSeries]>([:])
    private static let others = Name(provider: "other", model: "other")

    package init() {
        whole = Dictionary(
            uniqueKeysWithValues: Kind.allCases.map {
                ($0, Timer(label: "aisbf_request_seconds", dimensions: [("kind", $0.rawValue)]))
            })
        beginnings = Dictionary(
            uniqueKeysWithValues: Kind.allCases.map {
                ($0, Timer(label: "aisbf_request_first_byte_seconds", dimensions: [("kind", $0.rawValue)]))
            })
    }

    /// - Parameter provider: nil when no place was found where the request could go.
    func ended(
        _ kind: Kind, provider: String?, model: String?, failed: Bool, nanoseconds: Int64, firstByte: Int64?
    ) {
        whole[kind]?.recordNanoseconds(nanoseconds)
        if let firstByte { beginnings[kind]?.recordNanoseconds(firstByte) }
        guard let provider else { return }
        let series = series(Name(provider: provider, model: model ?? "none"))
        if failed { series.failed.increment() } else { series.served.increment() }
        series.duration.recordNanoseconds(nanoseconds)
    }

    private func series(_ name: Name) -> ModelSeries {
        models.withLock { models in
            if let known = models[name] { return known }
            let hasRoom = models.count < Limits.metricModels
            let fits = name.provider.utf8.count + name.model.utf8.count <= Limits.metricLabelBytes
            let shown = hasRoom && fits ? name : Self.others
            if let known = models[shown] { return known }
            let made = ModelSeries(shown)
            models[shown] = made
            return made
        }
    }
}
