/// Words about a failure that may be shown to somebody else's customer: without the addresses, paths and secrets of
/// the machine they come from.
///
/// Cut are: what the caller names, keys and tokens, addresses (IP, `localhost`, private host names, URLs that lead to
/// one or hold a password), port numbers that are called so, and absolute file paths. Public web addresses and API
/// paths below `/v1` stay.
package struct PublicWords: Sendable {
    private let hidden: [[UInt8]]

    /// - Parameter hidden: what only the caller knows to be private, such as a host name; texts under three bytes are
    ///   not looked for.
    package init(hiding hidden: [String] = []) {
        self.hidden = hidden.map { $0.utf8.map(Self.lowered) }.filter { $0.count >= 3 }
            .sorted { $0.count > $1.count }
    }

    package func cleaned(_ text: String) -> String {
        let bytes = Array(text.utf8)
        var output: [UInt8] = []
        output.reserveCapacity(bytes.count)
        let hasStars = bytes.contains(UInt8(ascii: "*"))
        var position = 0
        while position < bytes.count {
            if let cut = cut(bytes, at: position, hasStars: hasStars), cut.end > position {
                output += cut.mark.utf8
                let isLong = cut.end - position >= Self.longestRun
                position = isLong ? Self.runEnd(bytes, cut.end, longest: .max) : cut.end
            } else {
                output.append(bytes[position])
                position += 1
            }
        }
        return output == bytes ? text : String(decoding: output, as: UTF8.self)
    }

    private struct Cut {
        var end: Int
        var mark: String
    }

    private static let address = "(address)"
    private static let secret = "(secret)"
    private static let path = "(path)"
    /// How far is looked before it is known that something has to go: what is hostile must not cost the square of its
    /// length.
    private static let longestRun = 256

    private func cut(_ bytes: [UInt8], at position: Int, hasStars: Bool) -> Cut? {
        if position > 0, Self.isWord(bytes[position - 1]) { return nil }
        if let end = hiddenEnd(bytes, position) { return Cut(end: end, mark: Self.address) }
        if let end = Self.urlEnd(bytes, position) {
            let url = bytes[position..<end]
            return Cut(end: end, mark: isPublicURL(url) ? String(decoding: url, as: UTF8.self) : Self.address)
        }
        if let cut = Self.secretCut(bytes, position, hasStars: hasStars) { return cut }
        if let end = Self.hostEnd(bytes, position) { return Cut(end: end, mark: Self.address) }
        if let end = Self.portEnd(bytes, position) { return Cut(end: end, mark: "port (hidden)") }
        if let end = Self.pathEnd(bytes, position) { return Cut(end: end, mark: Self.path) }
        return nil
    }

    private func hiddenEnd(_ bytes: [UInt8], _ position: Int) -> Int? {
        for text in hidden where Self.starts(bytes, position, with: text) {
            var end = position + text.count
            if end < bytes.count, Self.isWord(bytes[end]), Self.isWord(bytes[end - 1]) { continue }
            // The port, and what stands behind it, belong to the address.
            if end < bytes.count, bytes[end] == UInt8(ascii: ":") || bytes[end] == UInt8(ascii: "/") {
                end = Self.runEnd(bytes, end)
            }
            return end
        }
        return nil
    }

    // MARK: URLs

    /// `scheme://…` up to what cannot be part of it.
    private static func urlEnd(_ bytes: [UInt8], _ position: Int) -> Int? {
        var end = position
        while end < bytes.count, end - position < 16, isWord(bytes[end]) || bytes[end] == UInt8(ascii: "+") { end += 1 }
        guard end > position, starts(bytes, end, with: Array("://".utf8)) else { return nil }
        return runEnd(bytes, end + 3)
    }

    private func isPublicURL(_ url: ArraySlice<UInt8>) -> Bool {
        let text = String(decoding: url.map(Self.lowered), as: UTF8.self)
        guard text.hasPrefix("https://") || text.hasPrefix("http://"), !text.contains("@"), !text.contains("?")
        else { return false }
        let rest = text.drop { $0 != "/" }.dropFirst(2)
        let host = rest.prefix { !["/", ":", "#"].contains($0) }
        guard !hidden.contains(where: { Array(host.utf8) == $0 }) else { return false }
        return Self.isPublicHost(host)
    }

    private static let privateDomains = [
        "local", "localhost", "localdomain", "internal", "intranet", "lan", "home", "corp", "private", "arpa",
    ]

    private static func isPublicHost(_ host: Substring) -> Bool {
        let labels = host.split(separator: ".", omittingEmptySubsequences: false)
        guard labels.count >= 2, let last = labels.last, last.utf8.count >= 2,
            last.utf8.allSatisfy({ (0x61...0x7A).contains($0) })
        else { return false }
        return !privateDomains.contains(String(last))
    }

    // MARK: Hosts

    /// An IP address, `localhost` or a name in a private domain, with its port and path.
    private static func hostEnd(_ bytes: [UInt8], _ position: Int) -> Int? {
        if position > 0, ".-".utf8.contains(bytes[position - 1]) { return nil }
        guard isWord(bytes[position]) || "[:".utf8.contains(bytes[position]) else { return nil }
        if bytes[position] == UInt8(ascii: "[") {
            guard let close = bytes[position...].prefix(48).firstIndex(of: UInt8(ascii: "]")),
                bytes[(position + 1)..<close].count(where: { $0 == UInt8(ascii: ":") }) >= 2,
                bytes[(position + 1)..<close].allSatisfy({ isWord($0) || ".:%".utf8.contains($0) }),
                bytes[(position + 1)..<close].contains(where: { (0x30...0x39).contains($0) })
            else { return nil }
            return tailEnd(bytes, close + 1)
        }
        if let end = bareAddressEnd(bytes, position) { return tailEnd(bytes, end) }
        var end = position
        while end < bytes.count, end - position < longestRun, hostBytes[Int(bytes[end])] { end += 1 }
        while end > position, [UInt8(ascii: "."), UInt8(ascii: "-")].contains(bytes[end - 1]) { end -= 1 }
        guard end > position else { return nil }
        let name = String(decoding: bytes[position..<end].map(lowered), as: UTF8.self)
        let labels = name.split(separator: ".", omittingEmptySubsequences: false)
        let isAddress = labels.count == 4 && labels.allSatisfy { UInt8($0) != nil }
        let isPrivate =
            labels.count >= 2 && privateDomains.contains(String(labels.last ?? ""))
            && !["home", "private", "local"].contains(String(labels[0]))
        guard isAddress || isPrivate || name == "localhost" else { return nil }
        return tailEnd(bytes, end)
    }

    /// An IPv6 address without brackets: two colons together and a digit, or eight groups.
    private static func bareAddressEnd(_ bytes: [UInt8], _ position: Int) -> Int? {
        if position > 0, bytes[position - 1] == UInt8(ascii: ":") { return nil }
        var (end, colons, isShort, hasDigit) = (position, 0, false, false)
        while end < bytes.count, end - position < 48 {
            if bytes[end] == UInt8(ascii: ":") {
                colons += 1
                isShort = isShort || (end > position && bytes[end - 1] == UInt8(ascii: ":"))
            } else if isHex(bytes[end]) {
                hasDigit = hasDigit || (0x30...0x39).contains(bytes[end])
            } else {
                break
            }
            end += 1
        }
        return hasDigit && (isShort || colons >= 7) ? end : nil
    }

    /// Behind a host: `:port` and a path.
    private static func tailEnd(_ bytes: [UInt8], _ position: Int) -> Int {
        guard position < bytes.count, bytes[position] == UInt8(ascii: ":") || bytes[position] == UInt8(ascii: "/")
        else { return position }
        return runEnd(bytes, position)
    }

    /// `port 8000`, `port=8000`.
    private static func portEnd(_ bytes: [UInt8], _ position: Int) -> Int? {
        guard starts(bytes, position, with: Array("port".utf8)) else { return nil }
        var end = position + 4
        while end < bytes.count, end < position + 7, " =:".utf8.contains(bytes[end]) { end += 1 }
        let digits = bytes[end...].prefix(6).prefix { (0x30...0x39).contains($0) }.count
        return end > position + 4 && digits >= 2 ? end + digits : nil
    }

    // MARK: Secrets

    private static let keyPrefixes = [
        "sk-", "sk_", "pk_", "rk_", "hf_", "gsk_", "xai-", "aiza", "ghp_", "nvapi-", "r8_", "aisbf_reg_", "eyj",
    ].map { Array($0.utf8) }

    private static func secretCut(_ bytes: [UInt8], _ position: Int, hasStars: Bool) -> Cut? {
        // `Bearer x`: the word says what follows.
        let bearer = Array("bearer ".utf8)
        if starts(bytes, position, with: bearer) {
            let end = tokenEnd(bytes, position + bearer.count)
            return end - position - bearer.count >= 8 ? Cut(end: end, mark: "Bearer \(secret)") : nil
        }
        guard isWord(bytes[position]) || bytes[position] == UInt8(ascii: "*") else { return nil }
        if let prefix = keyPrefixes.first(where: { starts(bytes, position, with: $0) }) {
            let end = tokenEnd(bytes, position)
            // These letters begin other words too.
            let least = prefix == Array("eyj".utf8) || prefix == Array("aiza".utf8) ? 20 : prefix.count + 3
            if end - position >= least { return Cut(end: end, mark: secret) }
        }
        // Half of a key, the rest in asterisks.
        guard hasStars, position == 0 || bytes[position - 1] != UInt8(ascii: "*") else { return nil }
        let token = bytes[position..<tokenEnd(bytes, position)]
        guard let star = token.firstIndex(of: UInt8(ascii: "*")) else { return nil }
        let stars = token[star...].prefix { $0 == UInt8(ascii: "*") }.count
        return stars >= 3 && token.count > stars ? Cut(end: token.endIndex, mark: secret) : nil
    }

    private static let tokenBytes = table { isWord($0) || "-.*~+/=".utf8.contains($0) }

    private static func tokenEnd(_ bytes: [UInt8], _ position: Int) -> Int {
        var end = position
        while end < bytes.count, end - position < longestRun, tokenBytes[Int(bytes[end])] { end += 1 }
        while end > position, ".=".utf8.contains(bytes[end - 1]) { end -= 1 }
        return end
    }

    // MARK: Files

    /// `/a/b`, `~/a`, `C:\a`: absolute paths of two parts at least, but those of this API.
    private static func pathEnd(_ bytes: [UInt8], _ position: Int) -> Int? {
        let first = bytes[position]
        if position > 0, "</.)]}".utf8.contains(bytes[position - 1]) { return nil }
        if first == UInt8(ascii: "~"), position + 1 < bytes.count, bytes[position + 1] == UInt8(ascii: "/") {
            return runEnd(bytes, position)
        }
        if position + 3 < bytes.count, (0x41...0x5A).contains(first & 0xDF), bytes[position + 1] == UInt8(ascii: ":"),
            bytes[position + 2] == UInt8(ascii: "\\")
        {
            return runEnd(bytes, position)
        }
        guard first == UInt8(ascii: "/") else { return nil }
        let end = runEnd(bytes, position)
        let parts = bytes[position..<end].split(separator: UInt8(ascii: "/"))
        guard parts.count >= 2, parts[0].contains(where: { isWord($0) }) else { return nil }
        return parts[0].elementsEqual("v1".utf8) ? nil : end
    }

    // MARK: Bytes

    /// One lookup in the place of a search for each byte.
    private static func table(_ holds: (UInt8) -> Bool) -> [Bool] { (0...255).map { holds(UInt8($0)) } }

    private static let runBytes = table { $0 > 0x20 && !"\"'`<>(){}|,;".utf8.contains($0) }
    private static let hostBytes = table(isHostByte)

    /// Up to a space, a quote or a bracket; punctuation at the end belongs to the sentence.
    private static func runEnd(_ bytes: [UInt8], _ position: Int, longest: Int = longestRun) -> Int {
        var end = position
        while end < bytes.count, end - position < longest, runBytes[Int(bytes[end])] { end += 1 }
        while end > position, ".:!?]".utf8.contains(bytes[end - 1]) { end -= 1 }
        return end
    }

    private static func starts(_ bytes: [UInt8], _ position: Int, with text: [UInt8]) -> Bool {
        guard position + text.count <= bytes.count else { return false }
        return zip(bytes[position...], text).allSatisfy { lowered($0) == $1 }
    }

    private static func lowered(_ byte: UInt8) -> UInt8 { (0x41...0x5A).contains(byte) ? byte | 0x20 : byte }

    private static func isWord(_ byte: UInt8) -> Bool {
        (0x61...0x7A).contains(lowered(byte)) || (0x30...0x39).contains(byte) || byte == UInt8(ascii: "_")
    }

    private static func isHex(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x61...0x66).contains(lowered(byte))
    }

    private static func isHostByte(_ byte: UInt8) -> Bool {
        (0x61...0x7A).contains(lowered(byte)) || (0x30...0x39).contains(byte) || byte == UInt8(ascii: ".")
            || byte == UInt8(ascii: "-")
    }
}
