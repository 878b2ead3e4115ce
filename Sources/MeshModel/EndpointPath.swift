/// A data path of a worker's API, such as `/v1/images/edits`: the only paths a buyer can reach on a worker.
///
/// Everything that another reader might resolve elsewhere is refused and not repaired: dot segments, escapes that
/// were left over, empty segments, and every first segment outside the closed list of families. So no request
/// reaches a worker's `/admin` or `/static`, where brokered requests skip the worker's own login.
package struct EndpointPath: Hashable, Sendable {
    /// The first segment after `v1`.
    package enum Family: String, CaseIterable, Sendable {
        case audio, completions, embeddings, files, images, messages, moderations, pipelines, rerank, responses, video

        /// Whether a second request may have to reach the worker that took the first: jobs and files live there.
        package var keepsState: Bool {
            switch self {
            case .files, .pipelines, .video: true
            case .audio, .completions, .embeddings, .images, .messages, .moderations, .rerank, .responses: false
            }
        }
    }

    package let family: Family
    /// With its leading slash.
    package let text: String

    /// As rules and limits name it: below the base path.
    package var route: String { String(text.dropFirst("/v1/".count)) }

    /// Anthropic's Messages.
    package static let messages = EndpointPath(.messages)
    /// OpenAI's completions of a text, older than its chats.
    package static let completions = EndpointPath(.completions)
    /// OpenAI's Responses.
    package static let responses = EndpointPath(.responses)

    private init(_ family: Family) {
        self.family = family
        text = "/v1/\(family.rawValue)"
    }

    /// - Parameter segments: decoded, below `v1`.
    package init?(segments: some Collection<String>) {
        guard let first = segments.first, let family = Family(rawValue: first), segments.count <= 8,
            segments.allSatisfy(Self.isPlain)
        else { return nil }
        self.family = family
        text = "/v1/" + segments.joined(separator: "/")
    }

    /// - Parameter text: `/v1/…`.
    package init?(_ text: String) {
        guard text.hasPrefix("/v1/"), text.utf8.count <= 1_024 else { return nil }
        self.init(segments: text.dropFirst(4).split(separator: "/", omittingEmptySubsequences: false).map(String.init))
    }

    /// Whether a worker that advertises `endpoints` (`v1/images/generations`, `v1/files`) takes this path: one of them
    /// is this path or stands above it. A whole segment `{id}`, `:id` or `*` matches any one segment.
    package func isOffered(by endpoints: [String]) -> Bool {
        endpoints.contains { Self.covers($0, text) }
    }

    private static func covers(_ endpoint: String, _ path: String) -> Bool {
        var offered = endpoint.utf8[...]
        if offered.first == UInt8(ascii: "/") { offered = offered.dropFirst() }
        if offered.last == UInt8(ascii: "/") { offered = offered.dropLast() }
        // `v1` alone, or `v1/*`, would offer everything, and nobody means that.
        guard offered.starts(with: "v1/".utf8), offered.count > 3,
            (0x61...0x7A).contains(offered[offered.index(offered.startIndex, offsetBy: 3)])
        else { return false }
        // Step by step through both; a segment that stands for any other takes the path's whole one.
        var wanted = path.utf8.dropFirst()
        var isStart = true
        while let byte = offered.first {
            if isStart, isWildcard(offered.prefix { $0 != UInt8(ascii: "/") }) {
                guard wanted.first.map({ $0 != UInt8(ascii: "/") }) ?? false else { return false }
                offered = offered.drop { $0 != UInt8(ascii: "/") }
                wanted = wanted.drop { $0 != UInt8(ascii: "/") }
                isStart = false
                continue
            }
            guard wanted.first == byte else { return false }
            isStart = byte == UInt8(ascii: "/")
            offered = offered.dropFirst()
            wanted = wanted.dropFirst()
        }
        return wanted.isEmpty || wanted.first == UInt8(ascii: "/")
    }

    /// `run:x` is a name and stands for itself only.
    private static func isWildcard(_ segment: Substring.UTF8View) -> Bool {
        switch segment.first {
        case UInt8(ascii: ":"): segment.count > 1
        case UInt8(ascii: "{"): segment.last == UInt8(ascii: "}")
        case UInt8(ascii: "*"): segment.count == 1
        default: false
        }
    }

    /// Unreserved characters of RFC 3986 and a few that ids use; never `%`, `\`, `;` or control characters.
    private static func isPlain(_ segment: String) -> Bool {
        guard (1...255).contains(segment.utf8.count), !segment.utf8.allSatisfy({ $0 == UInt8(ascii: ".") })
        else { return false }
        return segment.utf8.allSatisfy { byte in
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
            case UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"), UInt8(ascii: ":"),
                UInt8(ascii: "@"), UInt8(ascii: "+"), UInt8(ascii: "="), UInt8(ascii: ","):
                true
            default: false
            }
        }
    }
}

extension EndpointPath: CustomStringConvertible {
    package var description: String { text }
}
