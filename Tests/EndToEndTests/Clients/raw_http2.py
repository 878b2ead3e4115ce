"""HTTP/2 by hand, for what no client library sends.

serve               an OpenAI-compatible backend that prints every request line and field that it gets
ask PORT CA KEY M   asks for embeddings of the model M, once well and then with line breaks in the fields; prints what came
"""
import http.server
import json
import socket
import ssl
import sys


class Backend(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, document):
        print("request", self.requestline, [f"{name}: {value}" for name, value in self.headers.items()], flush=True)
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer({"object": "list", "data": [{"id": "m"}]})

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"] or 0))
        self.answer({"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}]})

    def log_message(self, *_):
        pass


def frame(kind, flags, stream, payload):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def field(name, value):
    name, value = name.encode(), value.encode()
    assert len(name) < 127 and len(value) < 127
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def ask(port, authority, key, model, accept, content_type):
    """What came on the stream: `answered`, or how it ended."""
    context = ssl.create_default_context(cafile=authority)
    context.set_alpn_protocols(["h2"])
    with socket.create_connection(("127.0.0.1", port), timeout=15) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as link:
            assert link.selected_alpn_protocol() == "h2"
            fields = [
                (":method", "POST"), (":scheme", "https"), (":path", "/v1/embeddings"), (":authority", "localhost"),
                ("authorization", f"Bearer {key}"), ("content-type", content_type), ("accept", accept),
            ]
            body = json.dumps({"model": model, "input": "x"}).encode()
            link.sendall(
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"")
                + frame(1, 4, 1, b"".join(field(*each) for each in fields)) + frame(0, 1, 1, body))
            kept = b""
            while True:
                try:
                    part = link.recv(65_536)
                except OSError as error:
                    return f"ended: {error}"
                if not part:
                    return "closed"
                kept += part
                while len(kept) >= 9 and len(kept) >= 9 + int.from_bytes(kept[:3], "big"):
                    size = int.from_bytes(kept[:3], "big")
                    kind, flags, stream = kept[3], kept[4], int.from_bytes(kept[5:9], "big")
                    payload, kept = kept[9:9 + size], kept[9 + size:]
                    if kind == 7:
                        return "goaway"
                    if stream == 1 and kind == 3:
                        return "reset"
                    if stream == 1 and kind == 0 and b"embedding" in payload:
                        return "answered"
                    if stream == 1 and flags & 1:
                        return "refused"


if sys.argv[1] == "serve":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    print("port", server.server_address[1], flush=True)
    server.serve_forever()
else:
    port, authority, key, model = int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5]
    json_type = "application/json"
    assert ask(port, authority, key, model, "image/x-good", json_type) == "answered"
    for end in ["\r\n", "\n", "\r", "\0"]:
        print(repr(end), "accept", ask(port, authority, key, model, f"image/png{end}x-evil: 1", json_type))
        print(repr(end), "type", ask(port, authority, key, model, "image/png", f"{json_type}{end}x-evil: 1"))
    assert ask(port, authority, key, model, "image/x-last", json_type) == "answered"
    print("done")
