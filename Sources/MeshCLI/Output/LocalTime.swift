internal import Foundation

/// Times as the person at the terminal reads them. JSON keeps what the node said.
package enum LocalTime {
    /// Such as `2026-11-23 21:36:31 +0100`, in the zone of this machine, or the one `TZ` names.
    package static func text(_ seconds: Int64) -> String {
        var time = time_t(seconds)
        var parts = tm()
        guard localtime_r(&time, &parts) != nil else { return String(seconds) }
        var buffer = [CChar](repeating: 0, count: 64)
        let count = strftime(&buffer, buffer.count, "%Y-%m-%d %H:%M:%S %z", &parts)
        return String(decoding: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Seconds since 1970.
    static var now: Int64 { Int64(time(nil)) }

    /// What a table shows of the field `key`: fields of time hold seconds since 1970.
    static func cell(_ value: JSONValue?, key: String) -> String {
        guard let value else { return "" }
        guard key.hasSuffix("_at") || key == "not_after", let seconds = value.int else { return value.cell }
        return text(seconds)
    }
}
