/// What may stand in an HTTP header value (RFC 9110, section 5.5): no control characters, so nothing can be
/// smuggled in after a line break.
package enum HeaderRule {
    package static func isValue(_ text: String) -> Bool {
        text.utf8.count <= 1_024 && text.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F }
    }
}
