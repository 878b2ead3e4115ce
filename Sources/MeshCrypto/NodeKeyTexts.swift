import MeshModel
import Synchronization

/// The text forms of nodes' keys that were written or read lately. Two stand in every forward, each takes as long to write as the
/// rest of its headers, and the same few nodes ask each other.
enum NodeKeyTexts {
    private struct State {
        var texts: [PublicKey: String] = [:]
        var keys: [String: PublicKey] = [:]
    }

    private static let state = Mutex(State())

    static func text(of key: PublicKey) -> String {
        if let known = state.withLock({ $0.texts[key] }) { return known }
        let text = KeyText.node.text(key.bytes)
        state.withLock { state in
            if state.texts.count >= Limits.nodeKeyTexts { state.texts = [:] }
            state.texts[key] = text
        }
        return text
    }

    /// Nil where it is none. What is wrong is not kept: how many of those come is the other side's to choose.
    static func key(in text: String) -> PublicKey? {
        if let known = state.withLock({ $0.keys[text] }) { return known }
        guard case .success(let bytes) = KeyText.node.parse(text), let key = PublicKey(bytes) else { return nil }
        state.withLock { state in
            if state.keys.count >= Limits.nodeKeyTexts { state.keys = [:] }
            state.keys[text] = key
        }
        return key
    }
}
