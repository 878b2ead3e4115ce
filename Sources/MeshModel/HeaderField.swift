/// A header or trailer field of HTTP (RFC 9110, section 5), its name in lower case.
package struct HeaderField: Hashable, Sendable {
    package var name: String
    package var value: String

    package init(_ name: String, _ value: String) {
        self.name = name
        self.value = value
    }
}

extension [HeaderField] {
    /// The value of the first field called `name`, which is in lower case.
    package func value(_ name: String) -> String? {
        // Most names are told apart by their length; comparing texts costs far more.
        let length = name.utf8.count
        for field in self where field.name.utf8.count == length && field.name == name { return field.value }
        return nil
    }
}
