"""Stands between programs and a node, and keeps what they send: `run.py --record FOLDER`.

What is kept is small and holds no secret: long texts are cut, of many tools a few stay, keys and what tells a machine apart are left out.
"""
import http.client
import json
import re
import socketserver
import urllib.parse
from http.server import BaseHTTPRequestHandler

DROPPED = {"authorization", "x-api-key", "api-key", "host", "content-length", "connection", "accept-encoding", "transfer-encoding"}
TEXT = 120
TOOLS, ITEMS, REQUESTS = 2, 12, 5


def trimmed(value, name=None):
    if isinstance(value, str):
        value = re.sub(r"/(?:tmp|root|home|work)/[^\s\"'<>]*", "/home/user", value)
        value = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "00000000-0000-0000-0000-000000000000", value)
        value = re.sub(r"[0-9a-f]{32,}", "0" * 32, value)
        return value if len(value) <= TEXT else value[:TEXT] + "…"
    if isinstance(value, list):
        return [trimmed(each) for each in value[:TOOLS if name in ("tools", "required") else ITEMS]]
    return {name: trimmed(each, name) for name, each in value.items()} if isinstance(value, dict) else value


class Recorder(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    node, kept = None, []

    def log_message(self, *_):
        pass

    def forward(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        try:
            document = trimmed(json.loads(body)) if body else None
        except ValueError:
            document = f"{len(body)} bytes"
        headers = {name.lower(): trimmed(value) for name, value in self.headers.items() if name.lower() not in DROPPED}
        if len(self.kept) < REQUESTS:
            self.kept.append({"method": self.command, "path": self.path, "headers": headers, "body": document})
        target = urllib.parse.urlsplit(self.node)
        connection = http.client.HTTPConnection(target.hostname, target.port, timeout=120)
        passed = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        connection.request(self.command, self.path, body or None, passed)
        answer = connection.getresponse()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        while piece := answer.read1(65_536):
            self.wfile.write(piece)
            self.wfile.flush()
        connection.close()

    do_GET = do_POST = do_HEAD = do_OPTIONS = do_DELETE = forward


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def serve(node):
    """A server in front of the node."""
    Recorder.node = node
    return Server(("127.0.0.1", 0), Recorder)
