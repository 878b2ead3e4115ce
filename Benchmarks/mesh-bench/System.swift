import Glibc

/// A failure of the harness itself or of what it started, in words for whoever runs it.
struct BenchError: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
}

enum Clock {
    /// Nanoseconds of the monotonic clock.
    static func now() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}

/// What the kernel says of a process in /proc.
enum ProcessFigures {
    /// User and system time used so far, in microseconds (proc(5), fields 14 and 15 of `stat`).
    static func cpuMicroseconds(_ pid: Int32) -> Double {
        guard let text = contents("/proc/\(pid)/stat"), let end = text.lastIndex(of: ")") else { return 0 }
        let fields = text[text.index(after: end)...].split(separator: " ")
        guard fields.count > 12, let user = Double(fields[11]), let system = Double(fields[12]) else { return 0 }
        return (user + system) * 1_000_000 / Double(sysconf(Int32(_SC_CLK_TCK)))
    }

    /// Resident memory in KiB.
    static func residentKiB(_ pid: Int32) -> Double {
        guard let text = contents("/proc/\(pid)/status") else { return 0 }
        for line in text.split(separator: "\n") where line.hasPrefix("VmRSS:") {
            return line.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first.flatMap { Double($0) } ?? 0
        }
        return 0
    }

    /// How many file descriptors a process has open.
    static func openFiles(_ pid: Int32) -> Int {
        guard let folder = opendir("/proc/\(pid)/fd") else { return -1 }
        defer { closedir(folder) }
        var count = 0
        while readdir(folder) != nil { count += 1 }
        return count
    }

    static func firstChild(of pid: Int32) -> Int32? {
        contents("/proc/\(pid)/task/\(pid)/children")?.split(separator: " ").first.flatMap { Int32($0) }
    }

    static func cpuModel() -> String {
        for line in (contents("/proc/cpuinfo") ?? "").split(separator: "\n") where line.hasPrefix("model name") {
            return String(line.split(separator: ":").last ?? "unknown").trimmed
        }
        return "unknown"
    }

    static func loadAverage() -> String {
        (contents("/proc/loadavg") ?? "").split(separator: " ").prefix(3).joined(separator: " ")
    }

    /// A small file as text.
    static func contents(_ path: String) -> String? {
        guard let file = fopen(path, "r") else { return nil }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var block = [UInt8](repeating: 0, count: 16_384)
        while true {
            let count = fread(&block, 1, block.count, file)
            if count == 0 { break }
            bytes += block[..<count]
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    static func write(_ bytes: [UInt8], to path: String) throws {
        guard let file = fopen(path, "w") else { throw BenchError("cannot write \(path)") }
        defer { fclose(file) }
        guard fwrite(bytes, 1, bytes.count, file) == bytes.count else { throw BenchError("cannot write \(path)") }
    }
}

extension String {
    var trimmed: String {
        var view = self[...]
        while view.first?.isWhitespace == true { view.removeFirst() }
        while view.last?.isWhitespace == true { view.removeLast() }
        return String(view)
    }
}

/// Blocking loopback sockets for set-up work; the load itself goes through NIO.
enum Loopback {
    private static func address(_ port: Int) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(UInt16(port)).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        return address
    }

    /// A port nothing listens on at the moment.
    static func freePort() throws -> Int {
        let socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(socket) }
        var address = address(0)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(socket, $0, length) == 0 ? getsockname(socket, $0, &length) : -1
            }
        }
        guard result == 0 else { throw BenchError("no free port on the loopback interface") }
        return Int(UInt16(bigEndian: address.sin_port))
    }

    /// GET on a new connection; nil when nothing answers within two seconds.
    static func get(_ path: String, port: Int, key: String? = nil) -> (status: Int, body: [UInt8])? {
        request("GET", path, port: port, key: key, seconds: 2)
    }

    /// A request on a new connection; nil when nothing answers in time.
    static func request(
        _ method: String, _ path: String, port: Int, key: String? = nil, body: String = "", seconds: Int = 30
    ) -> (status: Int, body: [UInt8])? {
        let socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(socket) }
        var timeout = timeval(tv_sec: seconds, tv_usec: 0)
        setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        var address = address(port)
        let connected = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard connected == 0 else { return nil }
        let authorization = key.map { "Authorization: Bearer \($0)\r\n" } ?? ""
        let length = body.isEmpty ? "" : "Content-Type: application/json\r\nContent-Length: \(body.utf8.count)\r\n"
        let head = "\(method) \(path) HTTP/1.1\r\nHost: 127.0.0.1\r\n\(authorization)\(length)Connection: close\r\n\r\n"
        let request = Array((head + body).utf8)
        guard send(socket, request, request.count, Int32(MSG_NOSIGNAL)) == request.count else { return nil }
        var bytes: [UInt8] = []
        var block = [UInt8](repeating: 0, count: 16_384)
        while true {
            let count = recv(socket, &block, block.count, 0)
            if count <= 0 { break }
            bytes += block[..<count]
        }
        let text = String(decoding: bytes, as: UTF8.self)
        let words = text.split(separator: " ", maxSplits: 2)
        guard words.count > 1, let status = Int(words[1]) else { return nil }
        let marker = Array("\r\n\r\n".utf8)
        guard bytes.count >= 4,
            let end = (0...(bytes.count - 4)).first(where: { Array(bytes[$0..<($0 + 4)]) == marker })
        else { return nil }
        return (status, Array(bytes[(end + 4)...]))
    }
}

/// Waits until `condition` gives something, asking every `every` milliseconds; fails after `seconds`.
func waiting<Value>(
    for what: String, seconds: Int = 20, every: Int = 20, until condition: () throws -> Value?
) async throws -> Value {
    let deadline = Clock.now() + UInt64(seconds) * 1_000_000_000
    while true {
        if let value = try condition() { return value }
        if Clock.now() > deadline { throw BenchError("waited \(seconds) s for \(what)") }
        try await Task.sleep(for: .milliseconds(every))
    }
}
