import MeshDialects
import MeshModel
import MeshRuntime
import NIOHTTP1

/// The routes whose requests go to workers.
struct HotRoute: Hashable, Sendable {
    enum Call: Hashable, Sendable {
        case chat
        /// Anthropic's: passed on to whoever offers it, else a chat.
        case messages
        /// OpenAI's Responses: likewise.
        case responses
        /// What a prompt of either is counted as; nobody is asked.
        case countTokens(Dialect)
        /// A response that was made before, of which no node keeps any.
        case keptResponse
        case proxy(EndpointPath)
    }

    var call: Call
    /// The user whose scope the path names (`/api/u/{username}/…`).
    var username: String?

    var isProxied: Bool {
        if case .proxy = call { return true }
        return false
    }

    init?(_ head: HTTPRequestHead) {
        call = .chat
        // By far the most frequent ones, told without cutting anything.
        if head.method == .POST, head.uri == "/v1/chat/completions" || head.uri == "/api/v1/chat/completions" { return }
        guard [.GET, .POST, .DELETE].contains(head.method), let (segments, _) = RequestPath.parse(head.uri),
            let (path, username) = BuyerPath.strip(segments)
        else { return nil }
        self.username = username
        if path == ["chat", "completions"] {
            guard head.method == .POST else { return nil }
        } else if path.first == "messages" {
            guard head.method == .POST else { return nil }
            switch path.count {
            case 1: call = .messages
            case 2 where path[1] == "count_tokens": call = .countTokens(.messages)
            default: return nil
            }
        } else if path == ["responses"] {
            guard head.method == .POST else { return nil }
            call = .responses
        } else if path == ["responses", "input_tokens"] {
            guard head.method == .POST else { return nil }
            call = .countTokens(.responses)
        } else if path.first == "responses" {
            call = .keptResponse
        } else {
            guard let endpoint = EndpointPath(segments: path) else { return nil }
            call = .proxy(endpoint)
        }
    }
}

/// An inference request whose caller is known before its body is read.
final class HotRequest: Sendable {
    let caller: Caller
    let route: HotRoute

    init(caller: Caller, route: HotRoute) {
        self.caller = caller
        self.route = route
    }
}
