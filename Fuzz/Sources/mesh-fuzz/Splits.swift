import MeshDialects
import MeshModel
import MeshWire

/// A stream in one piece, in pieces whose lengths follow from the input, and byte by byte: what comes of it is the same.
enum Splits {
    static func same(_ bytes: ArraySlice<UInt8>, _ seed: UInt8, _ run: ([[UInt8]]) -> [UInt8]?) -> [UInt8]? {
        let whole = run([Array(bytes)])
        expect(run(InputReader.reads(bytes, seed: seed)) == whole, "another split gives other events")
        expect(run(bytes.map { [$0] }) == whole, "byte by byte gives other events")
        return whole
    }

    /// Nil where it cannot be translated: the words may come after other bytes then.
    static func translated(
        _ bytes: ArraySlice<UInt8>, _ seed: UInt8, _ make: () -> any TranslatedStream
    ) -> [UInt8]? {
        same(bytes, seed) { reads in
            var stream = make()
            var output: [UInt8] = []
            for read in reads {
                guard let bytes = try? stream.append(read) else { return nil }
                output += bytes
            }
            return output + stream.finish(AnswerTotals(), outputTokens: 1)
        }
    }

    /// A stream that passes, to its end or its failure.
    static func passed(_ bytes: ArraySlice<UInt8>, _ seed: UInt8, _ make: () -> any PassedStream) -> [UInt8] {
        let whole = same(bytes, seed) { reads in
            var stream = make()
            let (output, failure) = delivered(reads) { events in
                let mended = events.withUnsafeBytes { stream.mended($0) } ?? events
                return (mended, stream.failure)
            }
            guard let error = failure ?? stream.flaw() else { return output }
            return output + stream.failureEvent(error, requestID: "req_1")
        }
        return whole ?? []
    }

    /// The events of a stream, each whole, given to whoever puts them in order.
    static func delivered(
        _ reads: [[UInt8]], _ pass: ([UInt8]) -> (events: [UInt8], failure: MeshError?)
    ) -> (output: [UInt8], failure: MeshError?) {
        var reframer = EventStreamReframer()
        var output: [UInt8] = []
        for number in 0...reads.count {
            let events =
                number == reads.count
                ? reframer.finish().map { [$0.event] } ?? [] : (try? reframer.append(reads[number])) ?? []
            for event in events {
                let (passed, failure) = pass(event + [0x0A, 0x0A])
                output += passed
                if let failure { return (output, failure) }
            }
        }
        return (output, nil)
    }
}
