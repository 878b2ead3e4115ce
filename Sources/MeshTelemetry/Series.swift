import Metrics
import Synchronization

/// A sum that many threads add to.
final class AtomicDouble: Sendable {
    private let bits: Atomic<UInt64>

    init(_ value: Double = 0) { bits = Atomic(value.bitPattern) }

    var value: Double { Double(bitPattern: bits.load(ordering: .relaxed)) }

    func store(_ value: Double) { bits.store(value.bitPattern, ordering: .relaxed) }

    func add(_ amount: Double) {
        var expected = bits.load(ordering: .relaxed)
        while true {
            let wanted = (Double(bitPattern: expected) + amount).bitPattern
            let result = bits.weakCompareExchange(expected: expected, desired: wanted, ordering: .relaxed)
            if result.exchanged { return }
            expected = result.original
        }
    }
}

/// A count that many threads add to. Wraps after 9 × 10^18, as Prometheus counters may.
final class AtomicCount: Sendable {
    private let count = Atomic<Int64>(0)

    var value: Int64 { count.load(ordering: .relaxed) }

    func add(_ amount: Int64) { count.wrappingAdd(amount, ordering: .relaxed) }

    func store(_ value: Int64) { count.store(value, ordering: .relaxed) }
}

/// The `counter` type: goes up only.
final class CounterSeries: CounterHandler, FloatingPointCounterHandler {
    private let whole = AtomicCount()
    private let fraction = AtomicDouble()

    func increment(by amount: Int64) { whole.add(max(0, amount)) }

    func increment(by amount: Double) {
        guard amount.isFinite, amount > 0 else { return }
        fraction.add(amount)
    }

    func reset() {
        whole.store(0)
        fraction.store(0)
    }

    var text: String {
        let part = fraction.value
        return part == 0 ? String(whole.value) : ExpositionText.number(Double(whole.value) + part)
    }
}

/// The `gauge` type: the latest value.
final class GaugeSeries: MeterHandler, RecorderHandler {
    private let level = AtomicDouble()

    func set(_ value: Int64) { level.store(Double(value)) }
    func set(_ value: Double) { level.store(value) }
    func increment(by amount: Double) { level.add(amount) }
    func decrement(by amount: Double) { level.add(-amount) }
    func record(_ value: Int64) { set(value) }
    func record(_ value: Double) { set(value) }

    var text: String { ExpositionText.number(level.value) }
}

/// The `histogram` type with fixed buckets. Timers record seconds here, aggregating recorders their own unit.
final class HistogramSeries: TimerHandler, RecorderHandler {
    /// From a fast hop inside one machine to a slow answer of a large model.
    static let secondsBounds: [Double] = [
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300,
    ]
    /// Powers of four: bytes, tokens, counts.
    static let amountBounds: [Double] = (0...13).map { Double(1 << (2 * $0)) }

    let bounds: [Double]
    private let buckets: [AtomicCount]
    private let sum = AtomicDouble()

    init(bounds: [Double]) {
        self.bounds = bounds
        buckets = (0...bounds.count).map { _ in AtomicCount() }
    }

    func recordNanoseconds(_ duration: Int64) { record(Double(duration) / 1e9) }
    func record(_ value: Int64) { record(Double(value)) }

    func record(_ value: Double) {
        guard value.isFinite else { return }
        let bucket = bounds.firstIndex { value <= $0 } ?? bounds.count
        buckets[bucket].add(1)
        sum.add(value)
    }

    /// Cumulative counts per bound, the total last, and the sum. The total is the sum of the buckets, so the parts of
    /// one exposition never contradict each other.
    var reading: (cumulative: [Int64], sum: Double) {
        var running: Int64 = 0
        let cumulative = buckets.map { bucket in
            running += bucket.value
            return running
        }
        return (cumulative, sum.value)
    }
}
