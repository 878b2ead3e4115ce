enum RecordGolden {
    static let hex: [String: String] = [:]
}
