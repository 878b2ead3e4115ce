import Foundation
import MeshWire

/// What the kernel knows of a process.
enum ProcessFacts {
    /// User and system time together, in seconds; the kernel counts hundredths.
    static func cpuSeconds(_ pid: Int32) -> Double {
        guard let text = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8),
            let close = text.lastIndex(of: ")")
        else { return 0 }
        let fields = text[text.index(after: close)...].split(separator: " ")
        guard fields.count > 13, let user = Double(fields[11]), let system = Double(fields[12]) else { return 0 }
        return (user + system) / 100
    }

    static func residentKiB(_ pid: Int32) -> Double {
        guard let text = try? String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8) else { return 0 }
        for line in text.split(separator: "\n") where line.hasPrefix("VmRSS:") {
            return Double(line.split(separator: " ").dropFirst().first ?? "") ?? 0
        }
        return 0
    }
}

/// Programs this benchmark starts, each ended before it returns or by `stop`.
enum Programs {
    static func start(_ path: String, _ arguments: [String], log: String) throws -> Process {
        FileManager.default.createFile(atPath: log, contents: nil)
        let process = Process()
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = arguments
        let output = FileHandle(forWritingAtPath: log) ?? .nullDevice
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = output
        process.standardError = output
        try process.run()
        return process
    }

    /// Runs to the end; at most `seconds`.
    static func finish(_ path: String, _ arguments: [String], log: String, seconds: Int = 70) async throws {
        let process = try start(path, arguments, log: log)
        let deadline = ContinuousClock.now.advanced(by: .seconds(seconds))
        while process.isRunning, ContinuousClock.now < deadline { try await Task.sleep(for: .milliseconds(20)) }
        if process.isRunning { process.terminate() }
        guard !process.isRunning, process.terminationStatus == 0 else {
            let text = (try? String(contentsOfFile: log, encoding: .utf8)) ?? ""
            throw BenchFailure("\(arguments.joined(separator: " ")) failed: \(text.suffix(2_000))")
        }
    }

    static func stop(_ process: Process) async throws {
        if process.isRunning { process.terminate() }
        let deadline = ContinuousClock.now.advanced(by: .seconds(10))
        while process.isRunning, ContinuousClock.now < deadline { try await Task.sleep(for: .milliseconds(10)) }
        if process.isRunning { kill(process.processIdentifier, SIGKILL) }
    }

    static func read(_ path: String) throws -> JSONValue {
        guard let data = FileManager.default.contents(atPath: path) else { throw BenchFailure("cannot read \(path)") }
        return try JSONValue.parse(Array(data))
    }
}

/// nginx, one process, in front of the mock backend.
struct NginxProxy {
    let process: Process
    let port: Int

    static func start(_ program: String, directory: String, backendPort: Int, port: Int) throws -> NginxProxy {
        let text = """
            daemon off;
            master_process off;
            worker_processes 1;
            pid \(directory)/nginx.pid;
            error_log \(directory)/nginx-error.log crit;
            events { worker_connections 8192; }
            http {
              access_log off;
              client_body_temp_path \(directory)/nginx-body;
              proxy_temp_path \(directory)/nginx-proxy;
              fastcgi_temp_path \(directory)/nginx-fastcgi;
              uwsgi_temp_path \(directory)/nginx-uwsgi;
              scgi_temp_path \(directory)/nginx-scgi;
              client_body_buffer_size 64k;
              keepalive_requests 100000000;
              upstream backend {
                server 127.0.0.1:\(backendPort);
                keepalive 2048;
                keepalive_requests 100000000;
              }
              server {
                listen 127.0.0.1:\(port) backlog=2048;
                proxy_http_version 1.1;
                proxy_set_header Connection "";
                location / { proxy_pass http://backend; }
                location /stream { proxy_buffering off; proxy_pass http://backend; }
              }
            }

            """
        let path = "\(directory)/nginx.conf"
        try text.write(toFile: path, atomically: true, encoding: .utf8)
        let process = try Programs.start(
            program, ["-p", directory, "-c", path, "-e", "\(directory)/nginx-error.log"], log: "\(directory)/nginx.log")
        return NginxProxy(process: process, port: port)
    }
}
