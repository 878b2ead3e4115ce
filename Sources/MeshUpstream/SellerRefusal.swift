package import MeshModel
import MeshWire

/// What an error status of a backend says of whoever buys there: the seller, by one of its keys.
package enum SellerRefusal: Hashable, Sendable {
    /// The key is none, or not good for this.
    case credentials
    /// The account is empty, or at its limit of money.
    case billing
    /// The key has had enough for now.
    case limited(retryAfterSeconds: Int?)
    /// Refused, and not for the key: what was asked for is not given. Nothing follows for the next request.
    case denied

    /// - Returns: nil for a status that is about something else.
    package init?(status: Int, retryAfter: String?, body: [UInt8]) {
        switch status {
        case 401, 407: self = .credentials
        case 402: self = .billing
        case 403:
            // Also how backends refuse what is in a prompt: only the fields that they write themselves count, never the
            // sentences, in which a buyer's words may stand.
            let words = Self.words(body)
            if words.contains(where: Self.wordsOfBilling.contains) {
                self = .billing
            } else {
                self = words.contains(where: Self.wordsOfCredentials.contains) ? .credentials : .denied
            }
        case 429:
            // How some say that an account is empty, too: waiting does not mend that.
            self =
                Self.words(body).contains(where: Self.wordsOfBilling.contains)
                ? .billing : .limited(retryAfterSeconds: Self.seconds(retryAfter))
        default: return nil
        }
    }

    package var cause: FailureCause? {
        switch self {
        case .credentials: .credentials
        case .billing: .billing
        case .limited, .denied: nil
        }
    }

    private static let wordsOfCredentials: Set<String> = [
        "invalid_api_key", "authentication_error", "permission_error", "permission_denied", "invalid_authentication",
        "insufficient_permissions", "missing_permissions", "unauthorized", "unauthenticated", "forbidden",
        "account_deactivated", "account_disabled", "organization_restricted", "organization_disabled",
        "unsupported_country_region_territory", "api_key_disabled", "key_expired", "access_denied",
    ]
    private static let wordsOfBilling: Set<String> = [
        "insufficient_quota", "billing_not_active", "billing_hard_limit_reached", "insufficient_credits",
        "insufficient_balance", "payment_required", "credit_balance_too_low", "billing_error",
    ]

    /// `code`, `type` and `status` of an error, as far as they are words.
    private static func words(_ body: [UInt8]) -> [String] {
        guard let document = try? JSONValue.parse(body) else { return [] }
        let error = document["error"] ?? document
        return ["code", "type", "status"].compactMap { error[$0]?.text?.lowercased() }
    }

    private static func seconds(_ text: String?) -> Int? {
        guard let text, let whole = Int(text.prefix { $0 != "." }), whole >= 0 else { return nil }
        return text.contains(".") ? whole + 1 : whole
    }
}
