"""Streams that are right and that programs have stumbled over.

  stream_shapes.py serve            an OpenAI-compatible backend; prints its port, then serves until it is killed
  stream_shapes.py ask BASE_URL KEY reads every stream with the official SDK; exits 1 on the first that is not whole
"""
import json
import socketserver
import sys
import time
from http.server import BaseHTTPRequestHandler

WORDS = ["one", " two", " three"]
QUIET = 12


def chunk(delta, finish=None):
    return json.dumps({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
                       "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def documents():
    return [chunk({"role": "assistant", "content": ""})] + [chunk({"content": word}) for word in WORDS] + [
        chunk({}, "stop"), "[DONE]"]


def named(index, data):
    return f"id: 0192f6f0-7d6e-7c1a-9d57-3a3c8f0b2d41-{index}\nevent: message\ndata: {data}\n\n"


def shapes():
    """What is sent of each stream; a number is a pause in seconds."""
    all_named = [named(index, data) for index, data in enumerate(documents())]
    plain = [f"data: {data}\n\n" for data in documents()]
    return {
        "plain": plain,
        "ids-and-names": all_named,
        "quiet-with-ids": all_named[:2] + [QUIET] + all_named[2:],
        "quiet": plain[:2] + [QUIET] + plain[2:],
        "comments-and-ids": all_named[:2] + [": OPENROUTER PROCESSING\n\n", "id: 9\n\n"] + all_named[2:],
        "carriage-returns": [text.replace("\n", "\r") for text in all_named],
        "open-behind-done": plain + [6],
    }


class Backend(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        body = json.dumps({"object": "list", "data": [{"id": name} for name in shapes()]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        try:
            for part in shapes()[body["model"]]:
                if isinstance(part, str):
                    data = part.encode()
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                    self.wfile.flush()
                else:
                    time.sleep(part)
            self.wfile.write(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True


def serve():
    socketserver.ThreadingTCPServer.daemon_threads = True
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Backend) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


def ask(base_url, key):
    import concurrent.futures

    import openai

    client = openai.OpenAI(base_url=base_url, api_key=key, max_retries=0, timeout=30)

    def read(name):
        started = time.monotonic()
        text, finish = "", None
        for event in client.chat.completions.create(
                model=f"gpu/{name}", messages=[{"role": "user", "content": "x"}], stream=True):
            for choice in event.choices:
                text += choice.delta.content or ""
                finish = choice.finish_reason or finish
        return name, text, finish, time.monotonic() - started

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        for name, text, finish, seconds in pool.map(read, shapes()):
            assert text == "".join(WORDS) and finish == "stop", (name, text, finish)
            assert name != "open-behind-done" or seconds < 5, seconds
            print(name, "ok")


if sys.argv[1] == "serve":
    serve()
else:
    ask(*sys.argv[2:])
