extension String {
    /// The longest beginning of whole characters that has at most `limit` bytes of UTF-8. One character can be
    /// kilobytes long, so bounds on what others write are counted in bytes.
    package func cut(toUTF8Bytes limit: Int) -> String {
        if utf8.count <= limit { return self }
        var text = ""
        var bytes = 0
        for character in self {
            bytes += character.utf8.count
            guard bytes <= limit else { break }
            text.append(character)
        }
        return text
    }
}
