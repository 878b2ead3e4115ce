"""Anthropic's official SDK on a node whose workers speak chat completions, or the Messages API itself.

  messages_client.py serve            a backend with both APIs; prints its port, then serves until it is killed
  messages_client.py ask HOST KEY     what a program does with the model `shop/chat`, which becomes a chat, and with
                                      `native/chat`, which passes; exits 1 on the first thing that is not as it should be
"""
import json
import socketserver
import sys
from http.server import BaseHTTPRequestHandler

TOOL = {"name": "get_weather", "description": "The weather of a city",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}
ARGUMENTS = ['{"ci', 'ty": "Bern"', '}']


def last_text(messages):
    content = messages[-1]["content"]
    return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)


class Backend(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, document, status=200):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def events(self, texts):
        body = "".join(texts).encode()
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.reply({"object": "list", "data": [{"id": "chat"}]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path.endswith("/messages"):
            self.messages(body)
        else:
            self.chat(body)

    # Chat completions

    def chat(self, body):
        messages = body["messages"]
        assert "system" not in body and "thinking" not in body, body
        said = last_text(messages)
        if "overflow" in said:
            return self.reply({"error": {"message": "This model's maximum context length is 8192 tokens. However, you "
                               "requested 9100 tokens (9000 in the messages, 100 in the completion).",
                               "type": "BadRequestError", "code": 400}}, 400)
        if "limited" in said:
            return self.reply({"error": {"message": "slow down", "type": "rate"}}, 429)
        usage = {"prompt_tokens": 30, "completion_tokens": 7, "total_tokens": 37,
                 "prompt_tokens_details": {"cached_tokens": 10}}
        if messages[-1]["role"] == "tool":
            assert messages[-2]["tool_calls"][0]["id"] == messages[-1]["tool_call_id"], messages
            delta = {"content": "It is " + messages[-1]["content"]}
        elif body.get("tools"):
            assert body["tools"][0]["function"]["name"] == TOOL["name"], body
            delta = {"content": "Let me look.", "tool_calls": [
                {"index": 0, "id": "call_1", "type": "function",
                 "function": {"name": TOOL["name"], "arguments": "".join(ARGUMENTS)}}]}
        else:
            system = messages[0]["content"] if messages[0]["role"] == "system" else ""
            delta = {"reasoning_content": "hm", "content": f"{system}|{said}"}
        finish = "tool_calls" if "tool_calls" in delta else "stop"
        if not body.get("stream"):
            return self.reply({"id": "c", "object": "chat.completion", "model": "chat", "usage": usage, "choices": [
                {"index": 0, "finish_reason": finish, "message": {"role": "assistant", **delta}}]})
        pieces = [{"role": "assistant", "content": ""}]
        if "reasoning_content" in delta:
            pieces.append({"reasoning_content": delta["reasoning_content"]})
        pieces += [{"content": letter} for letter in delta["content"]]
        for call in delta.get("tool_calls", []):
            pieces.append({"tool_calls": [{**call, "function": {"name": TOOL["name"], "arguments": ""}}]})
            pieces += [{"tool_calls": [{"index": 0, "function": {"arguments": part}}]} for part in ARGUMENTS]
        chunks = [{"choices": [{"index": 0, "delta": piece, "finish_reason": None}]} for piece in pieces]
        if "cut" in said:
            return self.events([f"data: {json.dumps(chunk)}\n\n" for chunk in chunks])
        chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
        if body.get("stream_options", {}).get("include_usage"):
            chunks.append({"choices": [], "usage": usage})
        self.events([f"data: {json.dumps({'id': 'c', 'object': 'chat.completion.chunk', **chunk})}\n\n"
                     for chunk in chunks] + ["data: [DONE]\n\n"])

    # Messages, as a backend has them that this node does not translate for

    def messages(self, body):
        version = self.headers["anthropic-version"]
        beta = self.headers["anthropic-beta"]
        text = json.dumps({"version": version, "beta": beta, "fields": sorted(body), "model": body["model"]})
        usage = {"input_tokens": 5, "cache_read_input_tokens": 20, "cache_creation_input_tokens": 3, "output_tokens": 4}
        message = {"id": "msg_own", "type": "message", "role": "assistant", "model": "chat", "stop_sequence": None}
        if "overflow" in last_text(body["messages"]):
            return self.reply({"type": "error", "error": {
                "type": "invalid_request_error", "message": "prompt is too long: 9 tokens > 8 maximum"}}, 400)
        if not body.get("stream"):
            return self.reply({**message, "content": [{"type": "text", "text": text}], "stop_reason": "end_turn",
                               "usage": usage})
        steps = [
            {"type": "message_start", "message": {**message, "content": [], "stop_reason": None, "usage": usage}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 4}},
            {"type": "message_stop"},
        ]
        self.events([f"event: {step['type']}\ndata: {json.dumps(step)}\n\n" for step in steps])


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


# The program of a buyer


def refused(call, kind):
    try:
        call()
    except kind as error:
        return error
    raise SystemExit(f"no {kind.__name__}")


def conversation(client, model):
    """Words, tools and their results, streamed and not."""
    ask = {"model": model, "max_tokens": 100, "system": [{"type": "text", "text": "Be", "cache_control": {"type": "ephemeral"}},
                                                         {"type": "text", "text": "brief"}]}
    question = [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]
    whole = client.messages.with_raw_response.create(messages=question, **ask)
    message = whole.parse()
    assert message.content[-1].text == "Be\n\nbrief|Hello" and message.content[0].thinking == "hm", message
    assert message.stop_reason == "end_turn" and message.model == model, message
    assert message._request_id == whole.headers["x-request-id"], message
    assert (message.usage.input_tokens, message.usage.cache_read_input_tokens, message.usage.output_tokens) == (20, 10, 7)
    assert whole.headers["aisbf-warnings"] == "cache_control", whole.headers
    with client.messages.stream(messages=question, **ask) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == message.content[-1].text and final.content[-1].text == text, final
    assert final.usage.output_tokens == 7 and final.usage.cache_read_input_tokens == 10, final.usage
    for streamed in (False, True):
        turn = {**ask, "tools": [TOOL], "tool_choice": {"type": "auto"}, "messages": question}
        if streamed:
            with client.messages.stream(**turn) as stream:
                called = stream.get_final_message()
        else:
            called = client.messages.create(**turn)
        assert called.stop_reason == "tool_use", called
        assert [block.type for block in called.content] == ["text", "tool_use"], called
        use = called.content[1]
        assert use.name == TOOL["name"] and use.input == {"city": "Bern"} and use.id == "call_1", use
        history = question + [{"role": "assistant", "content": [block.model_dump() for block in called.content]},
                              {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id,
                                                            "content": [{"type": "text", "text": "sunny"}]}]}]
        answer = client.messages.create(**{**turn, "messages": history})
        assert answer.content[-1].text == "It is sunny", answer
    print("conversation ok", model)


def failures(anthropic, host, key):
    """Each failure is the SDK's own exception, and is tried as often as the node says."""
    attempts = []
    hook = {"request": [lambda request: attempts.append(request.url.path)]}
    http = anthropic.DefaultHttpxClient(event_hooks=hook)
    client = anthropic.Anthropic(base_url=host, api_key=key, max_retries=2, http_client=http, timeout=30)

    def ask(text, model="shop/chat", **more):
        return lambda: client.messages.create(
            model=model, max_tokens=5, messages=[{"role": "user", "content": text}], **more)

    def count():
        number = len(attempts)
        attempts.clear()
        return number

    error = refused(ask("overflow"), anthropic.BadRequestError)
    assert "prompt is too long: 9000 tokens > 8192 maximum" in str(error), error
    assert count() == 1
    error = refused(ask("overflow", "native/chat"), anthropic.BadRequestError)
    assert "prompt is too long: 9 tokens > 8 maximum" in str(error) and count() == 1, error
    error = refused(ask("x", "shop/none"), anthropic.NotFoundError)
    assert error.body["error"]["type"] == "not_found_error" and count() == 1, error.body
    assert error.request_id.startswith("req_") and error.body["request_id"] == error.request_id, error.body
    error = refused(ask("limited"), anthropic.RateLimitError)
    assert "slow down" in str(error) and error.response.headers["x-should-retry"] == "true", error
    assert count() == 3
    error = refused(ask("x", extra_body={"messages": [{"role": "robot", "content": "x"}]}), anthropic.BadRequestError)
    assert "messages.0.role" in str(error) and count() == 1, error
    wrong = anthropic.Anthropic(base_url=host, api_key="sk-aisbf-wrong", max_retries=2, http_client=http)
    error = refused(lambda: wrong.messages.create(model="m", max_tokens=1, messages=[]), anthropic.AuthenticationError)
    assert error.body["error"]["type"] == "authentication_error" and count() == 1, error.body

    def cut():
        with client.messages.stream(model="shop/chat", max_tokens=5, messages=[{"role": "user", "content": "cut"}]) as stream:
            return stream.get_final_message()

    error = refused(cut, anthropic.APIStatusError)
    assert error.body["error"]["code"] == "stream_interrupted", error.body
    print("failures ok")


def ask(host, key):
    import anthropic
    client = anthropic.Anthropic(base_url=host, api_key=key, max_retries=0, timeout=30)
    conversation(client, "shop/chat")
    counted = client.messages.count_tokens(model="shop/chat", messages=[{"role": "user", "content": "one two three four"}])
    assert 3 <= counted.input_tokens <= 20, counted
    native = client.messages.create(
        model="native/chat", max_tokens=5, messages=[{"role": "user", "content": "x"}], thinking={"type": "disabled"},
        extra_headers={"anthropic-beta": "new-2027"}, extra_body={"unknown": 1})
    seen = json.loads(native.content[0].text)
    assert seen["version"] == client.default_headers["anthropic-version"] and seen["beta"] == "new-2027" and seen["model"] == "chat", seen
    assert seen["fields"] == ["max_tokens", "messages", "model", "thinking", "unknown"] and native.id == "msg_own", seen
    with client.messages.stream(model="native/chat", max_tokens=5, messages=[{"role": "user", "content": "x"}]) as stream:
        assert stream.get_final_message().id == "msg_own"
    print("native ok")
    pages = list(client.models.list(limit=1))
    names = [model.id for model in pages]
    assert {"shop/chat", "native/chat", "claude/auto"} <= set(names) and len(names) == len(set(names)), names
    assert client.models.retrieve("shop/chat").display_name == "shop/chat"
    assert client.messages.create(model="claude/auto", max_tokens=5, messages=[{"role": "user", "content": "x"}]).content
    print("models ok", len(names))
    failures(anthropic, host, key)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        with Server(("127.0.0.1", 0), Backend) as server:
            print(server.server_address[1], flush=True)
            server.serve_forever()
    else:
        ask(sys.argv[2], sys.argv[3])
