import MeshExchange
import MeshModel
import MeshTransport
import NIOHTTP1

/// What is known of a request before its body: where it goes, or why it goes nowhere.
struct RequestJudgement {
    let verdict: GatewayHandler.StateMachine.Judgement
    /// Where it goes to a worker; nil for the routes that are answered by a function.
    var hot: HotRequest?
    /// Why it fails.
    var refusal: MeshError?

    private init(_ error: MeshError, limit: Int) {
        verdict = .refuse(limit: limit)
        refusal = error
    }

    private init(_ hot: HotRequest?, limit: Int, declared: Int, mayStream: Bool) {
        verdict = .take(limit: limit, declared: declared, mayStream: mayStream)
        self.hot = hot
    }

    /// - Parameter upgradeRefusal: why the request did not become a WebSocket.
    static func of(
        _ head: HTTPRequestHead, upgradeRefusal: MeshError?, from place: ConnectionPlace, _ memory: CallerMemory,
        _ shared: GatewayContext
    ) -> RequestJudgement {
        if let upgradeRefusal { return RequestJudgement(upgradeRefusal, limit: Limits.coldBodyBytes) }
        if let error = RequestBounds.problem(head) {
            // Read to its end, so that whoever sends a large one gets the answer.
            return RequestJudgement(error, limit: Limits.requestBodyBytes)
        }
        let route = HotRoute(head)
        let declared = RequestBounds.declaredLength(head)
        let limit = RequestBounds.bodyLimit(route)
        let mayStream =
            route?.isProxied ?? false && !head.headers.contains(name: "content-encoding") && ProxyCall.mayStream(head)
        if declared > limit, !mayStream { return RequestJudgement(RequestBounds.tooLarge(head, route), limit: limit) }
        guard let route else { return RequestJudgement(nil, limit: limit, declared: declared, mayStream: false) }
        return
            switch shared.inferenceCaller(
                head.headers, scope: route.username, route: route.text, from: place, memory)
        {
        case .success(let caller):
            RequestJudgement(
                HotRequest(caller: caller, route: route), limit: limit, declared: declared, mayStream: mayStream)
        case .failure(let error): RequestJudgement(error, limit: limit)
        }
    }
}

extension GatewayHandler.StateMachine.Request {
    init(_ head: HTTPRequestHead) {
        let version = head.version
        majorVersion = version.major
        // Behind a request for another protocol the HTTP/1.1 decoder reads no more, whatever becomes of it.
        // HTTP/1.0 has no way to end a body of unknown length but the end of the connection.
        keepsConnection =
            version.major >= 2
            || (version == .http1_1 && head.isKeepAlive && !head.headers.contains(name: "upgrade"))
        expectsContinue = head.headers.first(name: "expect")?.lowercased() == "100-continue"
    }
}
