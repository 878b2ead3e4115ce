import MeshModel
import MeshWire

/// A form read while it arrives: the same for every split, and the same parts as a reader of the whole sees.
enum UploadTarget {
    private struct Part: Hashable {
        var name: String
        var filename: String?
        var range: Range<Int>
    }

    static func run(_ input: [UInt8]) {
        var reader = InputReader(input)
        let seed = reader.byte()
        let boundary = Array("Boundary".utf8.prefix(1 + Int(reader.byte()) % 8))
        let body = Array(reader.rest)
        let whole = scan([body], boundary)
        for reads in [InputReader.reads(reader.rest, seed: seed), body.map { [$0] }] {
            let split = scan(reads, boundary)
            expect((try? split.get()) == (try? whole.get()), "another split gives other events")
        }
        let form = Result { () throws(MultipartError) in try MultipartForm.parts(of: body, boundary: boundary) }
        let parts = (try? form.get())?.map { Part(name: $0.name, filename: $0.filename, range: $0.range) }
        switch whole {
        case .success(let events):
            expect(Self.parts(events) == parts, "two readers see other parts: \(events) \(String(describing: parts))")
        // Text around the form, and a long field, are refused here alone.
        case .failure(.noBoundary), .failure(.trailingBytes), .failure(.fieldTooLong): break
        case .failure(let error): expect(parts == nil, "refused as \(error), but a form")
        }
    }

    private static func parts(_ events: [MultipartScanner.Event]) -> [Part] {
        events.compactMap { event in
            switch event {
            case .field(let name, _, let range): Part(name: name, filename: nil, range: range)
            case .fileBegan: nil
            case .fileEnded(let name, let filename, let range): Part(name: name, filename: filename, range: range)
            }
        }
    }

    private static func scan(
        _ reads: [[UInt8]], _ boundary: [UInt8]
    ) -> Result<[MultipartScanner.Event], MultipartError> {
        do throws(MultipartError) {
            var scanner = try MultipartScanner(boundary: boundary, watching: ["model", "stream"])
            var events: [MultipartScanner.Event] = []
            for read in reads {
                let found: Result<[MultipartScanner.Event], MultipartError> = read.withUnsafeBytes { raw in
                    do throws(MultipartError) { return .success(try scanner.feed(raw)) } catch {
                        return .failure(error)
                    }
                }
                events += try found.get()
            }
            try scanner.finish()
            return .success(events)
        } catch { return .failure(error) }
    }
}
