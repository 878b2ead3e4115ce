import AsyncHTTPClient
import Foundation
import MeshModel
import NIOCore
import NIOHTTP1
import NIOHTTPCompression

/// Why there is no answer, in words for the buyer and in words for the seller.
extension OpenAIBackend {
    /// It is not there yet, or not any more.
    func asleep(status: Int) -> BackendFailure {
        BackendFailure(
            code: "backend_asleep", message: "its backend is not awake",
            detail: "status \(status), as a gateway answers for a server that is not there")
    }

    func redirected(status: Int, location: String?) -> BackendFailure {
        let target = location ?? "nowhere"
        return BackendFailure(
            code: "backend_redirect",
            message:
                "its backend redirects (status \(status)) instead of answering; the seller has to correct its address",
            detail: "status \(status), location \(target.prefix(512)): \(settings.advice.address)"
        )
    }

    func failure(_ error: any Error) -> any Error {
        if error is CancellationError || Task.isCancelled { return CancellationError() }
        if (error as? HTTPClientError) == .cancelled { return CancellationError() }
        if let error = error as? HTTPClientError, error == .readTimeout {
            let seconds = Limits.workerBackendIdleMs / 1000
            return BackendFailure(
                code: "backend_timeout", message: "its backend has sent nothing for \(seconds) s",
                detail: "nothing came for \(seconds) s")
        }
        if let coding = error as? BackendConnection.UnknownCoding {
            return BackendFailure(
                code: "backend_bad_answer", message: "its backend compresses its answers in a way it was not asked for",
                detail: "content-encoding '\(coding.names)', although only identity was asked for")
        }
        if error is NIOHTTPDecompression.DecompressionError || error is NIOHTTPDecompression.ExtraDecompressionError {
            return BackendFailure(
                code: "backend_bad_answer", message: "its backend's compressed answer is damaged or too large",
                detail: "the compressed answer is damaged or too large: \(error)")
        }
        if error is BackendConnection.Lost || (error as? HTTPClientError) == .remoteConnectionClosed {
            return BackendFailure(
                code: "backend_closed", message: "its backend closed the connection before it had answered",
                detail: "the connection was closed before the answer was complete")
        }
        let broken =
            (error as? IOError).map { [ECONNRESET, EPIPE].contains($0.errnoCode) } ?? (error is HTTPParserError)
        if broken {
            return BackendFailure(
                code: "backend_closed", message: "its backend broke off the answer",
                detail: "the answer broke off: \(error)")
        }
        if let forbidden = error as? ForbiddenAddress {
            return BackendFailure(
                code: "backend_forbidden", message: "no connection to its backend", detail: forbidden.words)
        }
        if let unknown = error as? HostResolverFailure {
            return BackendFailure(
                code: "backend_unreachable", message: "no connection to its backend",
                detail: "the name in \(baseURL) cannot be resolved: \(unknown.words)")
        }
        return BackendFailure(
            code: "backend_unreachable", message: "no connection to its backend",
            detail: ConnectionWords.text(error, to: baseURL))
    }
}
