import Foundation
import GRDB
import MeshModel

extension [UInt8] {
    /// The blob in `column`; empty when the column is null.
    init(row: Row, _ column: String) {
        let data: Data? = row[column]
        self = data.map { [UInt8]($0) } ?? []
    }
}

extension Timestamp {
    /// The time in a column that may be null.
    init?(row: Row, _ column: String) {
        let milliseconds: Int64? = row[column]
        guard let milliseconds else { return nil }
        self.init(milliseconds: milliseconds)
    }
}
