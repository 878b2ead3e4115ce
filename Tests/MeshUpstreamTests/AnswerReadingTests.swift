import MeshModel
import NIOCore
import Testing

@testable import MeshUpstream

/// What an answer is told to be by its head and its first bytes, and how it goes on then.
@Suite struct AnswerReadingTests {
    private struct Case: Sendable {
        var name: String
        var streams = false
        var passesBytes = true
        var takesParts = true
        var status = 200
        var type = "application/json"
        var length: Int?
        var bodies: [String]
        var parts: [String]
    }

    private static func text(_ part: AnswerReading.Part) -> String {
        switch part {
        case .whole(let head, let body): "whole \(head.status) \(String(decoding: body, as: UTF8.self).prefix(20))"
        case .start(let head): "start \(head.contentType)"
        case .bytes(let bytes): "bytes \(bytes.readableBytes)"
        case .events(let text): "events \(String(decoding: text, as: UTF8.self))"
        case .end: "end"
        }
    }

    private static let cases: [Case] = [
        Case(name: "a document", bodies: ["{\"a\":", "1}"], parts: ["whole 200 {\"a\":1}"]),
        Case(name: "nothing", bodies: [], parts: ["whole 200 "]),
        Case(
            name: "an error", streams: true, status: 500, type: "text/event-stream", bodies: ["data: x"],
            parts: ["whole 500 data: x"]),
        Case(
            name: "a stream", streams: true, type: "text/event-stream; charset=utf-8",
            bodies: ["data: a\n\n", "data: b\n\n"],
            parts: ["events data: a\n\n", "events data: b\n\n", "end"]),
        Case(
            name: "a stream that says its end", streams: true, type: "text/event-stream",
            bodies: ["data: a\n\ndata: [DO", "NE]\n\n", "data: late\n\n"],
            parts: ["events data: a\n\ndata: [DO", "events NE]\n\n", "end"]),
        Case(
            name: "a stream without its type", streams: true, type: "application/octet-stream",
            bodies: ["da", "ta: a\n\n"],
            parts: ["events data: a\n\n", "end"]),
        Case(
            name: "a document in place of a stream", streams: true, bodies: ["{\"a\"", ":1}"],
            parts: ["whole 200 {\"a\":1}"]),
        Case(
            name: "a stream nobody asked for", passesBytes: false, type: "text/event-stream", bodies: ["data: a\n\n"],
            parts: ["whole 200 data: a\n\n"]),
        Case(
            name: "sound that is made", type: "audio/mpeg", bodies: ["abc", "de"],
            parts: ["start audio/mpeg", "bytes 3", "bytes 2", "end"]),
        Case(
            name: "sound that is there", type: "audio/mpeg", length: 5, bodies: ["abc", "de"],
            parts: ["whole 200 abcde"]),
        Case(
            name: "sound for whoever takes no parts", takesParts: false, type: "audio/mpeg", bodies: ["abc"],
            parts: ["whole 200 abc"]),
        Case(
            name: "a page", streams: true, type: "text/html", bodies: ["<!doctype html><p>"],
            parts: ["whole 200 <!doctype html><p>"]),
    ]

    @Test(arguments: cases.indices) func eachGoesItsWay(index: Int) throws {
        let row = Self.cases[index]
        var reading = AnswerReading(streams: row.streams, passesBytes: row.passesBytes, takesParts: row.takesParts)
        var parts = try reading.take(.head(status: row.status, headers: [], contentType: row.type, length: row.length))
        for body in row.bodies { parts += try reading.take(.body(ByteBuffer(string: body))) }
        parts += reading.finish()
        #expect(parts.map(Self.text) == row.parts, "\(row.name)")
    }

    @Test func whatIsLargeGoesOnInParts() throws {
        var reading = AnswerReading(streams: false, passesBytes: false, takesParts: true)
        _ = try reading.take(.head(status: 200, headers: [], contentType: "application/json", length: nil))
        let half = ByteBuffer(repeating: 0x20, count: Limits.workerAgentWholeBytes)
        let first = try reading.take(.body(half))
        let second = try reading.take(.body(ByteBuffer(string: "x")))
        #expect(first.isEmpty)
        #expect(second.map(Self.text) == ["start application/json", "bytes \(Limits.workerAgentWholeBytes + 1)"])
        #expect(reading.finish().map(Self.text) == ["end"])
    }

    @Test func whatIsTooLargeForOneMessageIsAFailure() throws {
        var reading = AnswerReading(streams: false, passesBytes: false, takesParts: false)
        _ = try reading.take(.head(status: 200, headers: [], contentType: "application/json", length: nil))
        let failure = #expect(throws: BackendFailure.self) {
            _ = try reading.take(.body(ByteBuffer(repeating: 0x20, count: Limits.workerAgentAnswerBytes + 1)))
        }
        #expect(failure?.code == "answer_too_large" && failure?.message.contains("8 MiB") == true)
    }

    @Test func noCharacterIsCut() throws {
        var reading = AnswerReading(streams: true, passesBytes: false, takesParts: true)
        var parts = try reading.take(.head(status: 200, headers: [], contentType: "text/event-stream", length: nil))
        for byte in Array("data: h€🦊\n\n".utf8) { parts += try reading.take(.body(ByteBuffer(bytes: [byte]))) }
        let texts = parts.map { part -> String in
            guard case .events(let text) = part else { return "" }
            return String(decoding: text, as: UTF8.self)
        }
        #expect(texts.joined() == "data: h€🦊\n\n" && !texts.joined().contains("\u{FFFD}"))
    }
}
