"""A server of chat completions that follows a script, for the programs of `make clients`.

What it does stands in capitals in the words of the user; everything else is answered with OK. What a program's tools said is
answered with what they said. Prints its port; every request is kept, as one line, in the file given.
"""
import json
import socketserver
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler

# Long enough that the node has to show that the stream lives, twice.
SILENT_SECONDS = 23
# How each program's tool for commands is called, and with what.
COMMANDS = {
    "exec_command": lambda command: {"cmd": command}, "shell": lambda command: {"command": ["bash", "-c", command]},
    "shell_command": lambda command: {"command": command}, "bash": lambda command: {"command": command},
    "Bash": lambda command: {"command": command, "description": "Says a word"},
    "get_weather": lambda _: {"city": "Bern"}, "python_interpreter": lambda _: {"code": "print('scripted-42')"},
}
PATCH = "*** Begin Patch\n*** Add File: made.txt\n+made by a patch\n*** End Patch\n"
OVERFLOW = {"error": {"message": "This model's maximum context length is 8192 tokens. However, you requested 9100 tokens (9000 in "
                                 "the messages, 100 in the completion). Please reduce the length of the messages.",
                      "type": "BadRequestError", "code": 400}}


def words(message):
    content = message.get("content") or ""
    return content if isinstance(content, str) else " ".join(part.get("text") or "" for part in content)


class Script:
    """What has been asked before, for what goes wrong once."""

    def __init__(self):
        self.seen, self.lock = {}, threading.Lock()

    def first(self, word):
        with self.lock:
            self.seen[word] = self.seen.get(word, 0) + 1
            return self.seen[word] == 1


SCRIPT = Script()


def call(number, name, arguments):
    """A call as the pieces of a stream."""
    text = json.dumps(arguments)
    half = len(text) // 2
    return [{"tool_calls": [{"index": number, "id": f"call_{number + 1}", "type": "function", "function": {"name": name, "arguments": text[:half]}}]},
            {"tool_calls": [{"index": number, "function": {"arguments": text[half:]}}]}]


def calls(body, asked):
    """The calls of a turn; nothing where none is asked for, or no tool fits."""
    names = [tool["function"]["name"] for tool in body.get("tools") or []]
    if "PATCH" in asked and "apply_patch" in names:
        return call(0, "apply_patch", {"input": PATCH})
    probe = next((name for name in names if name.endswith("probe_echo") or name.endswith("__echo")), None)
    if "MCP" in asked and probe:
        return call(0, probe, {"text": "scripted-42"})
    name = next((name for name in COMMANDS if name in names), None)
    if not name or not any(word in asked for word in ("TOOL", "TWO", "BREAK")):
        return []
    pieces = call(0, name, COMMANDS[name]("echo scripted-$((40 + 2))"))
    if "TWO" in asked:
        pieces += call(1, name, COMMANDS[name]("echo scripted-$((40 + 3))"))
    return pieces


def answer(body):
    """The delta of the answer, in pieces."""
    # Some programs tell what a tool said in words of the user.
    results = [words(message) for message in body["messages"]
               if message["role"] == "tool" or message["role"] == "user" and "Observation:" in words(message)]
    asked = " ".join(words(message) for message in body["messages"] if message["role"] == "user")
    names = [tool["function"]["name"] for tool in body.get("tools") or []]
    if results and "final_answer" in names:
        return call(0, "final_answer", {"answer": "scripted-42" if "scripted-42" in " ".join(results) else "nothing"})
    if "bash" in names and "COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT" in asked and "scripted-42" in " ".join(results):
        return call(0, "bash", {"command": "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT; echo scripted-42"})
    if results:
        said = [word for word in ("scripted-42", "scripted-43") if sum(word in result for result in results) == 1]
        patched = ["patched"] if "PATCH" in asked and "made.txt" in " ".join(results) else []
        return [{"content": "The tools said: "}, {"content": " ".join(said + patched) or "nothing"}]
    return calls(body, asked) or [{"content": "O"}, {"content": "K"}]


class Backend(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen = None

    def log_message(self, *_):
        pass

    def reply(self, document, status=200):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.reply({"object": "list", "data": [{"id": "chat"}, {"id": "gpt-5.4"}]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with open(self.seen, "a") as file:
            file.write(json.dumps(body) + "\n")
        if self.path.endswith("/embeddings"):
            return self.reply({"object": "list", "model": "chat", "data": [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}],
                               "usage": {"prompt_tokens": 3, "total_tokens": 3}})
        asked = " ".join(words(message) for message in body["messages"] if message["role"] == "user")
        if "OVERFLOW" in asked and SCRIPT.first("OVERFLOW"):
            return self.reply(OVERFLOW, 400)
        pieces = answer(body)
        finish = "tool_calls" if "tool_calls" in pieces[0] else "stop"
        usage = {"prompt_tokens": 30, "completion_tokens": 7, "total_tokens": 37}
        if not body.get("stream"):
            return self.reply({"id": "c", "object": "chat.completion", "created": 1, "model": "chat", "usage": usage,
                               "choices": [{"index": 0, "finish_reason": finish, "message": whole(pieces)}]})
        self.stream(asked, pieces, finish, usage if (body.get("stream_options") or {}).get("include_usage") else None)

    def stream(self, asked, pieces, finish, usage):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True

        def say(chunk):
            head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "chat"}
            self.wfile.write(f"data: {json.dumps({**head, **chunk})}\n\n".encode())
            self.wfile.flush()

        for number, piece in enumerate(pieces):
            say({"choices": [{"index": 0, "delta": piece, "finish_reason": None}]})
            if number == 0 and "SILENT" in asked:
                time.sleep(SILENT_SECONDS)
            if number == 0 and "CUT" in asked and SCRIPT.first("CUT"):
                return
        if "BREAK" in asked and finish == "tool_calls" and SCRIPT.first("BREAK"):
            self.wfile.write(b'data: {"error":{"message":"the worker broke","code":500}}\n\n')
            return
        say({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
        if usage:
            say({"choices": [], "usage": usage})
        self.wfile.write(b"data: [DONE]\n\n")


def whole(pieces):
    message = {"role": "assistant", "content": "".join(piece.get("content") or "" for piece in pieces) or None}
    made = {}
    for piece in pieces:
        for part in piece.get("tool_calls", []):
            known = made.setdefault(part["index"], {**part, "function": {**part["function"], "arguments": ""}})
            known["function"]["arguments"] += part["function"]["arguments"]
    if made:
        message["tool_calls"] = [{name: value for name, value in each.items() if name != "index"} for each in made.values()]
    return message


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    Backend.seen = sys.argv[1]
    with Server(("127.0.0.1", int(sys.argv[2]) if len(sys.argv) > 2 else 0), Backend) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()
