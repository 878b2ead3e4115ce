import Foundation
import MeshAccounting
import MeshModel
import MeshRuntime
import MeshStore
import Testing

/// The shell of the ledger on a real store.
@Suite struct QuotasTests {
    private static let bob = QuotaSubject(.user, "bob")
    private static let request = QuotaRequest(address: nil, route: nil)

    private static func quota(_ change: (inout Quota) -> Void) -> [(subject: QuotaSubject, quota: Quota)] {
        var quota = Quota()
        change(&quota)
        return [(bob, quota)]
    }

    private static func tokens(_ tokens: Int64) -> QuotaEstimate {
        QuotaEstimate(leastTokens: tokens, mostTokens: tokens, costs: [])
    }

    private static func cost(_ microUnits: Int64) -> QuotaEstimate {
        QuotaEstimate(
            leastTokens: 0, mostTokens: 0,
            costs: [.init(currency: .usd, least: microUnits, most: microUnits)])
    }

    private static func cause(_ quotas: Quotas, _ estimate: QuotaEstimate) -> QuotaRefusal.Cause? {
        if case .failure(let refusal) = quotas.admit(request, estimate, for: [bob]) { refusal.cause } else { nil }
    }

    private static func waits(_ condition: () -> Bool) -> Bool {
        for _ in 0..<500 {
            if condition() { return true }
            usleep(10_000)
        }
        return false
    }

    /// Comes back for as long as it is told to.
    private static func spend(_ microUnits: Int64, _ quotas: Quotas) async -> Bool {
        while true {
            switch quotas.admit(request, cost(microUnits), for: [bob]) {
            case .success(let admission):
                admission?.end(QuotaUse(tokens: 0, money: Money(microUnits: microUnits, currency: .usd)))
                return true
            case .failure(let refusal):
                guard refusal.cause == .notGranted else { return false }
                await Task.yield()
            }
        }
    }

    @Test func aStoreThatFailsClosesMoneyAndNothingElse() throws {
        let path = "/tmp/mesh-quotas-\(UInt32.random(in: 0 ... .max))"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: path) }
        let store = try MeshStore.open("\(path)/mesh.sqlite")
        let quotas = Quotas(store: store)
        quotas.define(
            Self.quota {
                $0.moneyPerMonth = 10_000_000
                $0.tokensPerMonth = 1_000_000
            })
        try store.close()
        // What is in hand is spent, and then nothing that costs money is let in.
        #expect(Self.waits { Self.cause(quotas, Self.cost(5_000_000)) == .storeFailed })
        #expect(Self.cause(quotas, Self.cost(0)) == nil)
        #expect(Self.waits { Self.cause(quotas, Self.tokens(300_000)) == nil })
        #expect(Self.cause(quotas, Self.tokens(1_000_001)) == .tooLarge)

        // Another run finds counted what was taken.
        let again = try MeshStore.open("\(path)/mesh.sqlite")
        let next = Quotas(store: again)
        next.define(Self.quota { $0.moneyPerMonth = 10_000_000 })
        let left = next.standings(of: Self.bob).first { $0.limit == .moneyPerMonth }?.remaining ?? 0
        #expect(left == 10_000_000 - 10_000_000 / Limits.quotaSliceParts)
        #expect(next.moneyLeft([Self.bob])?.microUnits == left)
        next.close()
        try again.close()
    }

    /// From many threads at once, with a disk that has to keep up.
    @Test func threadsAtOncePassNoLimit() async throws {
        let path = "/tmp/mesh-quotas-\(UInt32.random(in: 0 ... .max))"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: path) }
        let store = try MeshStore.open("\(path)/mesh.sqlite")
        let quotas = Quotas(store: store)
        quotas.define(Self.quota { $0.moneyPerDay = 100_000_000 })
        let admitted = await withTaskGroup(of: Int.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    var held = 0
                    for _ in 0..<20 { held += await Self.spend(1_000_000, quotas) ? 1 : 0 }
                    return held
                }
            }
            return await group.reduce(0, +)
        }
        #expect(admitted == 100)
        quotas.close()
        try store.close()
    }

    /// A node that stops gives back what nobody has used, whoever is just taking more of it.
    @Test func whatIsTakenWhileItClosesIsGivenBack() async throws {
        let path = "/tmp/mesh-quotas-\(UInt32.random(in: 0 ... .max))"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: path) }
        let store = try MeshStore.open("\(path)/mesh.sqlite")
        for round in 0..<30 {
            let quotas = Quotas(store: store)
            // Larger each time, so that each has something to take.
            let limit = Int64(1_000_000 + 100_000 * round)
            quotas.define(Self.quota { $0.tokensPerMonth = limit })
            await withTaskGroup(of: Void.self) { group in
                for _ in 0..<2 {
                    group.addTask {
                        for number in 0..<20 {
                            quotas.sweep()
                            quotas.define(Self.quota { $0.tokensPerMonth = limit + Int64(number % 2) })
                        }
                    }
                }
                group.addTask { quotas.close() }
            }
            quotas.sweep()
            let next = Quotas(store: store)
            next.define(Self.quota { $0.tokensPerMonth = limit })
            let left = next.standings(of: Self.bob).first { $0.limit == .tokensPerMonth }?.remaining
            #expect(left == limit, "round \(round)")
            next.close()
        }
        try store.close()
    }
}
