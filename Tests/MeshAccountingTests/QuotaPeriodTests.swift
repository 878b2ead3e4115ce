import MeshAccounting
import MeshModel
import Testing

@Suite struct QuotaPeriodTests {
    /// Seconds since 1970, with the day and the month they lie in and when those end.
    private static let times: [(seconds: Int64, day: String, month: String, dayEnd: Int64, monthEnd: Int64)] = [
        (0, "1970-01-01", "1970-01", 86_400, 2_678_400),
        // A leap day and the second behind it; 2000 is a leap year, 2100 is none.
        (951_782_400, "2000-02-29", "2000-02", 951_868_800, 951_868_800),
        (951_868_800, "2000-03-01", "2000-03", 951_955_200, 954_547_200),
        (1_709_251_199, "2024-02-29", "2024-02", 1_709_251_200, 1_709_251_200),
        (4_107_542_399, "2100-02-28", "2100-02", 4_107_542_400, 4_107_542_400),
        // The last second of a year and the first of the next.
        (1_798_761_599, "2026-12-31", "2026-12", 1_798_761_600, 1_798_761_600),
        (1_798_761_600, "2027-01-01", "2027-01", 1_798_848_000, 1_801_440_000),
    ]

    @Test(arguments: times)
    func daysAndMonthsOfUTC(seconds: Int64, day: String, month: String, dayEnd: Int64, monthEnd: Int64) {
        let time = Timestamp(milliseconds: seconds * 1_000)
        for (kind, text, end) in [(QuotaPeriod.Kind.day, day, dayEnd), (.month, month, monthEnd)] {
            let period = QuotaPeriod(kind, at: time)
            #expect(period.description == text)
            #expect(period.end.seconds == end)
            #expect(period.start <= time && time < period.end)
            #expect(QuotaPeriod(text) == period)
        }
    }

    @Test func everyDayFollowsTheOneBeforeIt() {
        var last = CivilDate(day: -1)
        for day in Int64(0)...60_000 {
            let date = CivilDate(day: day)
            #expect(CivilDate.day(year: date.year, month: date.month, day: date.day) == day)
            let isNext =
                date.day == last.day + 1 && date.month == last.month
                || date.day == 1 && (date.month == last.month + 1 || date.month == 1 && date.year == last.year + 1)
            #expect(isNext, "\(date.text) behind \(last.text)")
            last = date
        }
    }

    @Test(arguments: ["", "2026", "2026-13", "2026-02-30", "2025-02-29", "2026-1-1-1", "x-01", "2026-00", "1969-12"])
    func whatIsNoPeriodIsNone(text: String) { #expect(QuotaPeriod(text) == nil) }

    @Test func aTimeAsText() {
        #expect(Timestamp(milliseconds: 1_798_761_599_999).utcText == "2026-12-31T23:59:59Z")
        #expect(Timestamp(milliseconds: 0).utcText == "1970-01-01T00:00:00Z")
    }
}
