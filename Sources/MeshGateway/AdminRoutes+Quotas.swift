import MeshAccounting
import MeshModel
import MeshRuntime
import MeshWire
import NIOHTTP1

/// `limits` and `limits/{kind}/{name}`.
extension AdminRoutes {
    func limits(_ request: Request, _ path: [String]) async throws -> Response {
        guard let first = path.first else {
            guard request.method == .GET else { throw Self.wrongMethod("GET, HEAD") }
            return .json(["limits": .array(try await administration.quotaEntries().map(\.document))])
        }
        guard path.count >= 2, let subject = QuotaSubject(path.joined(separator: "/")) else {
            throw MeshError(
                .invalidRequest,
                "'\(first.cut(toUTF8Bytes: 64))' is no subject of limits; they are written key/ID, user/NAME, provider/OWNER/NAME, …",
                parameter: "subject")
        }
        switch (subject.kind, request.method) {
        case (_, .GET): return .json(try await administration.quotaEntry(subject).document)
        case (_, .PUT), (_, .PATCH):
            return .json(try await administration.setQuota(subject, try request.document()).document)
        case (_, .DELETE):
            try await administration.removeQuota(subject)
            return .noContent
        default: throw Self.wrongMethod("GET, HEAD, PUT, PATCH, DELETE")
        }
    }
}

extension Administration.QuotaEntry {
    var document: JSONValue {
        let now = standings.map { standing -> JSONValue in
            func shown(_ amount: Int64) -> JSONValue {
                standing.limit.isMoney ? .string(FixedPoint.shortText(amount, digits: 6)) : .integer(amount)
            }
            return [
                "limit": .string(standing.limit.rawValue), "amount": shown(standing.amount),
                "remaining": shown(standing.remaining), "resets_in_ms": .integer(standing.resetMs),
            ]
        }
        return .object(
            [.init("subject", .string(subject.description))] + (quota.document.members ?? [])
                + [.init("changed_at", .integer(changedAt.seconds)), .init("now", .array(now))])
    }
}
