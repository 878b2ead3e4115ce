internal import MeshBroker
import MeshCrypto
internal import MeshGossip
import MeshModel
internal import MeshRouting
import MeshWire

/// A worker as a node sees it: it dials until it is let in, and again when its node was gone.
struct SimulatedWorker: Sendable {
    let name: String
    let node: Int
    let provider: RecordKey
    let owner: PublicKey
    let token: SigningKey
    let models: [String]
    /// Grows with each connection.
    var sessions = 0
    var isAttached = false
    /// Stays away.
    var isStopped = false
}

extension Simulation {
    private static let redialMs: Int64 = 250

    mutating func add(_ worker: SimulatedWorker) {
        workers.append(worker)
        nodes[worker.node].hold(worker.token)
        queue.insert(.attach(workers.count - 1), at: clock.advanced(byMilliseconds: Self.redialMs))
    }

    /// Lets the worker in if its node knows the provider, as it may only after it heard of it.
    mutating func attach(_ number: Int) {
        let worker = workers[number]
        guard !worker.isAttached, !worker.isStopped else { return }
        guard nodes[worker.node].isUp, nodes[worker.node].catalog.provider(worker.provider) != nil else {
            queue.insert(.attach(number), at: clock.advanced(byMilliseconds: Self.redialMs))
            return
        }
        workers[number].isAttached = true
        workers[number].sessions += 1
        drive(
            worker.node,
            .workerAttached(
                AttachedWorker(
                    sessionID: "\(worker.name)-\(worker.sessions + 1)", provider: worker.provider, owner: worker.owner,
                    attachKey: worker.token.publicKey, clientID: worker.name, since: now(worker.node).wall,
                    offer: WorkerOffer(models: ModelList(worker.models.map { WorkerModel(id: $0) })))))
    }

    /// The worker leaves, and comes back when `resume` says so.
    mutating func stop(worker number: Int) {
        let worker = workers[number]
        workers[number].isStopped = true
        guard worker.isAttached else { return }
        workers[number].isAttached = false
        drive(worker.node, .workerDetached(sessionID: "\(worker.name)-\(worker.sessions)"))
    }

    mutating func resume(worker number: Int) {
        workers[number].isStopped = false
        attach(number)
    }

    mutating func loseWorkers(of node: Int) {
        for number in workers.indices where workers[number].node == node && workers[number].isAttached {
            workers[number].isAttached = false
            queue.insert(.attach(number), at: clock.advanced(byMilliseconds: Self.redialMs))
        }
    }
}
