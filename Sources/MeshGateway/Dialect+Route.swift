import MeshDialects
import MeshModel
import NIOHTTP1

extension Dialect {
    /// Whose words a request gets that may not even have a route.
    init(uri: String, _ headers: HTTPHeaders) {
        let path = uri.utf8.count <= 2_048 ? uri.prefix { $0 != "?" } : ""
        self.init(path: path.split(separator: "/"), speaksAnthropic: headers.contains(name: "anthropic-version"))
    }
}

extension HotRoute {
    var dialect: Dialect {
        switch call {
        case .chat: .chat
        case .messages: .messages
        case .responses, .keptResponse: .responses
        case .countTokens(let dialect): dialect
        case .proxy(let endpoint): endpoint.family == .responses ? .responses : .chat
        }
    }
}

extension Request {
    var dialect: Dialect { Dialect(uri: target, headers) }
}
