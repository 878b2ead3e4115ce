"""Text completions, embeddings and moderations by the official SDK.

  completions_client.py serve         an OpenAI-compatible backend; prints its port, then serves until it is killed
  completions_client.py ask BASE KEY  asks a node for all of it; exits 1 on the first answer that is not right
"""
import json
import socketserver
import sys
from http.server import BaseHTTPRequestHandler

WORDS = ["one", " two", " three"]


def chunk(text, finish=None, **more):
    return json.dumps({"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "chat",
                       "choices": [{"index": 0, "text": text, "logprobs": None, "finish_reason": finish}], **more})


class Backend(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def send(self, body, kind="application/json"):
        body = body.encode()
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.send(json.dumps({"object": "list", "data": [{"id": "chat"}]}))

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path.endswith("/embeddings"):
            vectors = [{"object": "embedding", "index": index, "embedding": [0.5, index]} for index in
                       range(len(body["input"]))]
            return self.send(json.dumps({"object": "list", "data": vectors, "model": "chat",
                                         "usage": {"prompt_tokens": 4, "total_tokens": 4}}))
        if self.path.endswith("/moderations"):
            return self.send(json.dumps({"id": "modr-1", "model": "chat",
                                         "results": [{"flagged": True, "categories": {}, "category_scores": {}}]}))
        if body.get("prompt") == "broken":
            return self.send("data: " + chunk("x") + "\n\n", "text/event-stream")
        if body.get("stream"):
            events = [chunk(word) for word in WORDS] + [chunk("", "stop"), "[DONE]"]
            return self.send("".join(f"data: {event}\n\n" for event in events), "text/event-stream")
        self.send(chunk("".join(WORDS), "stop", usage={"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4}))


def serve():
    socketserver.ThreadingTCPServer.daemon_threads = True
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Backend) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


def ask(base_url, key):
    import openai

    client = openai.OpenAI(base_url=base_url, api_key=key, max_retries=0, timeout=30)
    whole = client.completions.create(model="texts/chat", prompt="Count")
    assert whole.choices[0].text == "one two three" and whole.usage.total_tokens == 4, whole
    print("completion ok")

    for asks in (False, True):
        more = {"stream_options": {"include_usage": True}} if asks else {}
        text, finish, usage = "", [], None
        for event in client.completions.create(model="texts/chat", prompt="Count", stream=True, **more):
            for choice in event.choices:
                assert event.object == "text_completion", event
                text += choice.text
                finish += [choice.finish_reason] if choice.finish_reason else []
            usage = event.usage or usage
        assert text == "one two three" and finish == ["stop"], (text, finish)
        assert bool(usage) == asks and (not asks or usage.completion_tokens > 0), usage
    print("stream ok")

    try:
        client.completions.create(model="texts/chat", prompt="broken")
        raise SystemExit("events were taken for a completion")
    except openai.InternalServerError as error:
        assert error.status_code == 502 and error.code == "worker_bad_answer", (error.status_code, error.code)
    print("unasked stream ok")

    vectors = client.embeddings.create(model="texts/chat", input=["a", "b"], encoding_format="float")
    assert [item.embedding for item in vectors.data] == [[0.5, 0], [0.5, 1]], vectors
    assert client.moderations.create(model="texts/chat", input="x").results[0].flagged
    print("embeddings and moderations ok")


if sys.argv[1] == "serve":
    serve()
else:
    ask(*sys.argv[2:])
