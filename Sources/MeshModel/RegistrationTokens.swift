/// How an attach key follows from the registration token that workers present (Docs/Protocol/tokens.md).
package enum TokenDerivation: UInt32, CaseIterable, Sendable {
    /// The token carries the key's seed.
    case seed = 0
    /// The token was minted elsewhere: its seed is Argon2id over the text, salted with the provider's record key.
    case argon2id = 1
}

/// What a token that was minted elsewhere must look like to become an attach key. One rule at import and at the
/// handshake: what may not be imported is not derived for a stranger either.
package enum ImportedTokenText {
    package enum Problem: Error, Hashable, Sendable {
        case tooShort, tooLong, notPrintable
        /// It has the prefix of a text of this program's own.
        case ours(KeyText)

        /// What to tell the person who imports it; never contains the token.
        package var message: String {
            switch self {
            case .tooShort:
                "a token to import needs at least \(Limits.importedTokenCharacters) characters: a shorter one can be guessed"
            case .tooLong: "a token to import may have at most \(Limits.importedTokenBytes) bytes"
            case .notPrintable: "a token to import has no control characters, and no spaces at its ends"
            case .ours(let kind):
                "this is \(kind.meaning), not a token minted elsewhere; add a token without import to get a new one"
            }
        }
    }

    /// Nil when `text` may be imported.
    package static func problem(_ text: String) -> Problem? {
        guard text.utf8.count <= Limits.importedTokenBytes else { return .tooLong }
        guard text.unicodeScalars.count >= Limits.importedTokenCharacters else { return .tooShort }
        if let kind = KeyText.allCases.first(where: { text.hasPrefix($0.rawValue) }) { return .ours(kind) }
        let isPrintable = text.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F }
        // Header values lose the white space around them on the way.
        guard isPrintable, text.utf8.first != 0x20, text.utf8.last != 0x20 else { return .notPrintable }
        return nil
    }
}
