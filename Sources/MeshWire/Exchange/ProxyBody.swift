import MeshModel

/// Whether the body of a forwarded `proxy` request is one that an entry node makes: of the type that it says, and for
/// no other model than the one the request is judged by. A backend that found another one in it would serve what
/// nobody was asked for.
enum ProxyBody {
    static func isUsable(_ fields: [JSONField], _ raw: UnsafeRawBufferPointer, model: String?) -> Bool {
        let type = fields.string("content_type", in: raw)
        guard fields.value("content_type", in: raw) == nil || type.map(HeaderRule.isValue) ?? false else {
            return false
        }
        if let body = fields.value("body", in: raw) {
            return BodyKind(contentType: type) == .json && isJSON(body, raw, model)
        }
        if let form = fields.value("multipart", in: raw) {
            return [nil, .form].contains(type.map { BodyKind(contentType: $0) }) && isForm(form, raw, model)
        }
        if let bytes = fields.value("body_base64", in: raw) {
            return BodyKind(contentType: type) == .bytes && isOther(bytes, raw)
        }
        return true
    }

    private static func isJSON(_ body: JSONSlice, _ raw: UnsafeRawBufferPointer, _ model: String?) -> Bool {
        guard body.kind == .object, let fields = try? JSONScanner.fields(of: raw, in: body.range) else { return false }
        switch fields.countIgnoringCase("model", in: raw) {
        case 0: return true
        case 1: return fields.string("model", in: raw) == model && model != nil
        default: return false
        }
    }

    /// Bytes whose beginning no backend takes for JSON.
    private static func isOther(_ slice: JSONSlice, _ raw: UnsafeRawBufferPointer) -> Bool {
        guard slice.kind == .string, !slice.hasEscapes else { return false }
        let text = raw[(slice.range.lowerBound + 1)..<(slice.range.upperBound - 1)]
        guard let beginning = Base64.bytes(text.prefix(4_096)) else { return false }
        if let isJSON = BodyKind.beginsAsJSON(beginning) { return !isJSON }
        return Base64.bytes(text).map { BodyKind.beginsAsJSON($0) != true } ?? false
    }

    // MARK: Forms

    private static func isForm(_ slice: JSONSlice, _ raw: UnsafeRawBufferPointer, _ model: String?) -> Bool {
        guard let lists = members(slice, ["fields", "files"], raw) else { return false }
        var models = 0
        for field in elements(lists, "fields", raw) ?? [] {
            guard let parts = members(field, ["name", "value"], raw), let name = text("name", of: parts, raw),
                parts.value("value", in: raw)?.kind == .string
            else { return false }
            if name != "model" { continue }
            models += 1
            guard parts.string("value", in: raw) == model else { return false }
        }
        for file in elements(lists, "files", raw) ?? [] {
            guard let parts = members(file, ["name", "filename", "content_type", "data_base64"], raw),
                let name = text("name", of: parts, raw), name != "model", text("filename", of: parts, raw) != nil,
                text("content_type", of: parts, raw) != nil, parts.value("data_base64", in: raw)?.kind == .string
            else { return false }
        }
        return models <= 1 && elements(lists, "fields", raw) != nil && elements(lists, "files", raw) != nil
    }

    /// A text that may stand in the headers of a part.
    private static func text(_ name: StaticString, of parts: [JSONField], _ raw: UnsafeRawBufferPointer) -> String? {
        guard let text = parts.string(name, in: raw), text.utf8.count <= Limits.multipartHeaderBytes,
            text.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F || $0 == 0x09 })
        else { return nil }
        return text
    }

    /// The members of an object that has no other ones than `names`, and none of them twice.
    private static func members(
        _ slice: JSONSlice, _ names: [StaticString], _ raw: UnsafeRawBufferPointer
    ) -> [JSONField]? {
        guard slice.kind == .object, let members = try? JSONScanner.fields(of: raw, in: slice.range),
            names.reduce(0, { $0 + min(members.count($1, in: raw), 1) }) == members.count
        else { return nil }
        return members
    }

    /// Nil for what is no list of at most as many parts as a form may have.
    private static func elements(
        _ lists: [JSONField], _ name: StaticString, _ raw: UnsafeRawBufferPointer
    ) -> [JSONSlice]? {
        guard let list = lists.value(name, in: raw) else { return [] }
        guard list.kind == .array else { return nil }
        return try? JSONScanner.elements(of: raw, in: list.range, limit: Limits.multipartParts)
    }
}
