package import MeshModel

/// A day or a month of the UTC calendar.
package struct QuotaPeriod: Hashable, Sendable, CustomStringConvertible {
    package enum Kind: String, CaseIterable, Hashable, Sendable {
        case day
        case month
    }

    package let kind: Kind
    /// Days, or months, since 1970-01-01.
    package let number: Int64

    package init(_ kind: Kind, number: Int64) {
        self.kind = kind
        self.number = number
    }

    package init(_ kind: Kind, at time: Timestamp) {
        let day = Self.floor(time.milliseconds, Self.dayMs)
        switch kind {
        case .day: self.init(.day, number: day)
        case .month:
            let date = CivilDate(day: day)
            self.init(.month, number: (date.year - 1970) * 12 + date.month - 1)
        }
    }

    /// `2026-11-29`, `2026-11`: what `description` gives.
    package init?(_ text: String) {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false).map { Int64($0) }
        guard (2...3).contains(parts.count), let year = parts[0], let month = parts[1], (1970...9999).contains(year),
            (1...12).contains(month)
        else { return nil }
        guard parts.count == 3 else {
            self.init(.month, number: (year - 1970) * 12 + month - 1)
            return
        }
        guard let day = parts[2], day >= 1 else { return nil }
        let number = CivilDate.day(year: year, month: month, day: day)
        guard CivilDate(day: number).month == month else { return nil }
        self.init(.day, number: number)
    }

    package var next: QuotaPeriod { QuotaPeriod(kind, number: number + 1) }
    package var start: Timestamp {
        switch kind {
        case .day: Timestamp(milliseconds: number * Self.dayMs)
        case .month:
            Timestamp(
                milliseconds: CivilDate.day(
                    year: 1970 + Self.floor(number, 12), month: number - Self.floor(number, 12) * 12 + 1, day: 1)
                    * Self.dayMs)
        }
    }
    package var end: Timestamp { next.start }

    package var description: String {
        let date = CivilDate(day: Self.floor(start.milliseconds, Self.dayMs))
        return switch kind {
        case .day: date.text
        case .month: String(date.text.dropLast(3))
        }
    }

    private static let dayMs: Int64 = 86_400_000

    private static func floor(_ value: Int64, _ unit: Int64) -> Int64 {
        value >= 0 ? value / unit : -((-value + unit - 1) / unit)
    }
}

/// A date of the proleptic Gregorian calendar. The year is counted from March here, so that the day that some years have more
/// is its last.
package struct CivilDate: Hashable, Sendable {
    package let year: Int64
    package let month: Int64
    package let day: Int64

    private static let fourHundredYears: Int64 = 146_097
    /// From 0000-03-01 to 1970-01-01.
    private static let daysBefore1970: Int64 = 719_468

    /// - Parameter day: counted from 1970-01-01.
    package init(day: Int64) {
        let shifted = day + Self.daysBefore1970
        let era = (shifted >= 0 ? shifted : shifted - Self.fourHundredYears + 1) / Self.fourHundredYears
        let dayOfEra = shifted - era * Self.fourHundredYears
        let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        self.day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
        month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    }

    /// Days from 1970-01-01.
    package static func day(year: Int64, month: Int64, day: Int64) -> Int64 {
        let year = month <= 2 ? year - 1 : year
        let era = (year >= 0 ? year : year - 399) / 400
        let yearOfEra = year - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        return era * fourHundredYears + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - daysBefore1970
    }

    /// `2026-11-29`
    package var text: String {
        func digits(_ value: Int64, _ count: Int) -> String {
            let text = String(value)
            return String(repeating: "0", count: max(count - text.utf8.count, 0)) + text
        }
        return "\(digits(year, 4))-\(digits(month, 2))-\(digits(day, 2))"
    }
}

extension Timestamp {
    /// `2026-11-29T00:00:00Z`
    package var utcText: String {
        let day = QuotaPeriod(.day, at: self)
        let second = (milliseconds - day.start.milliseconds) / 1_000
        func two(_ value: Int64) -> String { value < 10 ? "0\(value)" : String(value) }
        return "\(day)T\(two(second / 3_600)):\(two(second / 60 % 60)):\(two(second % 60))Z"
    }
}
