internal import ArgumentParser
internal import Foundation
internal import MeshCrypto
internal import MeshModel
internal import MeshNode

struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor", abstract: "Find out what is wrong. The output holds no secrets and is safe to paste.")
    @OptionGroup var settings: NodeSettingOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        var findings = [Finding(.ok, "software", "aisbf \(Software.version), \(Software.platform)")]
        findings.append(Examination.libsodium())
        do {
            let configuration = try await settings.load()
            findings.append(Finding(.ok, "configuration", "no problems"))
            findings += await Examination(configuration: configuration).run()
        } catch let problems as ConfigurationProblems {
            findings += problems.problems.map { Finding(.failed, "configuration", $0.description) }
        }
        let failed = findings.filter { $0.verdict == .failed }.count
        if output.json {
            Console.print(
                JSONValue.object(["findings": .array(findings.map(\.json)), "failed": .integer(Int64(failed))]).pretty)
        } else {
            Console.print(Table(["", "CHECK", "FINDING"], rows: findings.map(\.row)).text)
        }
        if failed > 0 { throw CommandFailure(failed == 1 ? "1 check failed" : "\(failed) checks failed") }
    }
}

/// One line of the doctor's report.
struct Finding: Sendable, Equatable {
    enum Verdict: String {
        case ok
        case note
        case failed
    }

    var verdict: Verdict
    var check: String
    var text: String

    init(_ verdict: Verdict, _ check: String, _ text: String) {
        self.verdict = verdict
        self.check = check
        self.text = text
    }

    init(_ result: DataDirectoryCheck.Result) {
        let verdict: Verdict =
            switch result.verdict {
            case .ok: .ok
            case .note: .note
            case .failed: .failed
            }
        self.init(verdict, result.check, result.text)
    }

    var row: [String] { [verdict.rawValue, check, text] }
    var json: JSONValue {
        .object(["verdict": .string(verdict.rawValue), "check": .string(check), "finding": .string(text)])
    }
}

/// Looks at the data directory, the ports and the running node of one configuration.
struct Examination {
    let configuration: NodeConfiguration

    /// 2025-01-01: record epochs count from there, so a clock before it cannot sign.
    private static let earliest = Date(timeIntervalSince1970: 1_735_689_600)

    func run() async -> [Finding] {
        let client = AdminClient(.socket(configuration.adminSocketPath))
        let status: JSONValue?
        let absence: CommandFailure?
        do { (status, absence) = (try await client.get("status"), nil) } catch {
            (status, absence) = (nil, error as? CommandFailure)
        }
        var findings = dataDirectory(isRunning: status != nil) + certificate() + [clock()]
        if let status {
            findings += running(status)
            findings.append(await peers(client))
            findings += await tokens(client)
        } else if let absence, absence.exitCode != Unreachable.exitCode {
            findings.append(Finding(.failed, "node", absence.message))
        } else {
            findings.append(
                Finding(.note, "node", "not running for this data directory; start it with 'aisbf node run'"))
            findings += [("api.listen", configuration.api.listen), ("link.listen", configuration.link.listen)].map(port)
        }
        return findings
    }

    static func libsodium() -> Finding {
        let version = Sodium.version
        let parts = version.split(separator: ".").compactMap { Int($0) }
        let recent = parts.count == 3 && (parts[0], parts[1], parts[2]) >= (1, 0, 18)
        return recent
            ? Finding(.ok, "libsodium", version)
            : Finding(.failed, "libsodium", "\(version) is too old; 1.0.18 or later is needed")
    }

    private func dataDirectory(isRunning: Bool) -> [Finding] {
        DataDirectoryCheck(configuration, isRunning: isRunning).run().map(Finding.init)
    }

    private func certificate() -> [Finding] {
        guard let tls = configuration.api.tls else { return [] }
        return [Finding(CertificateCheck.run(tls, now: Int64(Date().timeIntervalSince1970)))]
    }

    private func clock() -> Finding {
        Date() < Self.earliest
            ? Finding(.failed, "clock", "is before 2025; set it (timedatectl set-ntp true)")
            : Finding(.ok, "clock", "plausible; a running node compares it with its peers")
    }

    private func port(_ name: String, _ endpoint: SocketEndpoint) -> Finding {
        LocalPorts.isFree(endpoint.port, host: endpoint.host)
            ? Finding(.ok, name, "port \(endpoint.port) is free")
            : Finding(.failed, name, "port \(endpoint.port) is in use, not allowed, or not an address of this machine")
    }

    private func running(_ answer: JSONValue) -> [Finding] {
        let node = NodeDocument(answer)
        let offset = node.clockOffsetMs
        let clock =
            (-Limits.clockOffsetMs...Limits.clockOffsetMs).contains(offset)
            ? Finding(.ok, "clock offset", "\(offset) ms from its peers")
            : Finding(
                .failed, "clock offset", "\(offset) ms from its peers; the node signs nothing until the clock is set")
        return [
            Finding(
                .ok, "node", "running, \(node.workers) workers, \(node.links) links"
            ), clock, store(node),
        ]
    }

    private func store(_ node: NodeDocument) -> Finding {
        guard let problem = node.storeProblem else { return Finding(.ok, "store", "what changes is kept") }
        let since = problem.since.map { ", since \(LocalTime.text($0))" } ?? ""
        return Finding(
            .failed, "store", "the node cannot keep what changes (\(problem.word)\(since)); make some room")
    }

    private func peers(_ client: AdminClient) async -> Finding {
        let peers = (try? await client.get("mesh/peers"))?.peers ?? []
        let linked = peers.filter(\.isLinked).count
        if linked == 0, !configuration.mesh.peers.isEmpty {
            return Finding(
                .failed, "peers",
                "none of \(configuration.mesh.peers.count) static peers is linked; check their addresses and allow-lists"
            )
        }
        return Finding(.ok, "peers", "\(linked) of \(peers.count) known nodes linked")
    }

    /// Tokens of the first release, which admit workers at this node only.
    private func tokens(_ client: AdminClient) async -> [Finding] {
        let providers = (try? await client.get("providers"))?.providers ?? []
        let names = providers.filter(\.hasUnprovenTokens).compactMap(\.name)
        guard !names.isEmpty else { return [] }
        return [
            Finding(
                .note, "tokens",
                "old tokens of \(names.prefix(8).joined(separator: ", ")) are good at this node only: let a worker attach here once, or rotate them"
            )
        ]
    }
}
