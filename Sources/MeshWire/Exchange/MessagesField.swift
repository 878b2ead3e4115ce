/// Header fields of Anthropic's Messages API, which go on to whoever offers it: its versions, and what is tried out of it. New
/// ones come with each version of its programs.
package enum MessagesField {
    private static let prefix = "anthropic-"

    /// - Parameter name: in lower case.
    package static func passes(_ name: String) -> Bool {
        name.utf8.count <= 64 && name.hasPrefix(prefix) && name.utf8.count > prefix.utf8.count
            && name.utf8.allSatisfy { (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2D }
    }
}
