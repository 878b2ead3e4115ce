"""A server of chat completions that follows a script, for the command-line programs of `make clients`.

What it does stands in the last words of the user: 'TOOL' calls the program's own tool for commands once and then says what
came of it; everything else is answered with OK. Prints its port; every request is kept, as one line, in the file given.
"""
import json
import socketserver
import sys
from http.server import BaseHTTPRequestHandler

COMMAND = "echo scripted-$((40 + 2))"
# How each program's tool for commands is called, and with what.
TOOLS = {"exec_command": {"cmd": COMMAND}, "shell": {"command": ["bash", "-c", COMMAND]}, "shell_command": {"command": COMMAND},
         "Bash": {"command": COMMAND, "description": "Says a word"}}


def words(message):
    content = message.get("content") or ""
    return content if isinstance(content, str) else " ".join(part.get("text") or "" for part in content)


def answer(body):
    """The delta of the answer, in pieces."""
    messages = body["messages"]
    results = [words(message) for message in messages if message["role"] == "tool"]
    asked = " ".join(words(message) for message in messages if message["role"] == "user")
    if results:
        # What the program's tool said is in it, or the program did not run it.
        return [{"content": "The tool said: "}, {"content": "scripted-42" if "scripted-42" in results[-1] else "nothing"}]
    names = [tool["function"]["name"] for tool in body.get("tools") or []]
    name = next((name for name in TOOLS if name in names), None)
    if "TOOL" in asked and name:
        arguments = json.dumps(TOOLS[name])
        half = len(arguments) // 2
        return [{"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments[:half]}}]},
                {"tool_calls": [{"index": 0, "function": {"arguments": arguments[half:]}}]}]
    return [{"content": "O"}, {"content": "K"}]


class Backend(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen = None

    def log_message(self, *_):
        pass

    def reply(self, kind, body):
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.reply("application/json", json.dumps({"object": "list", "data": [{"id": "chat"}]}).encode())

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with open(self.seen, "a") as file:
            file.write(json.dumps(body) + "\n")
        pieces = answer(body)
        finish = "tool_calls" if "tool_calls" in pieces[0] else "stop"
        usage = {"prompt_tokens": 30, "completion_tokens": 7, "total_tokens": 37}
        if not body.get("stream"):
            message = {"role": "assistant", "content": "".join(piece.get("content") or "" for piece in pieces)}
            if finish == "tool_calls":
                call = pieces[0]["tool_calls"][0]
                arguments = "".join(piece["tool_calls"][0]["function"]["arguments"] for piece in pieces)
                message["tool_calls"] = [{**call, "function": {"name": call["function"]["name"], "arguments": arguments}}]
            choice = {"index": 0, "finish_reason": finish, "message": message}
            return self.reply("application/json", json.dumps({"id": "c", "object": "chat.completion", "created": 1, "model": "chat",
                                                              "choices": [choice], "usage": usage}).encode())
        chunks = [{"choices": [{"index": 0, "delta": piece, "finish_reason": None}]} for piece in pieces]
        chunks += [{"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}, {"choices": [], "usage": usage}]
        text = "".join(f"data: {json.dumps({'id': 'c', 'object': 'chat.completion.chunk', 'created': 1, 'model': 'chat', **chunk})}\n\n"
                       for chunk in chunks)
        self.reply("text/event-stream", (text + "data: [DONE]\n\n").encode())


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    Backend.seen = sys.argv[1]
    with Server(("127.0.0.1", int(sys.argv[2]) if len(sys.argv) > 2 else 0), Backend) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()
