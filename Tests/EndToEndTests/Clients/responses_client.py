"""OpenAI's official SDK on the Responses API of a node whose workers speak chat completions, or Responses themselves.

  responses_client.py serve           a backend with both APIs; prints its port, then serves until it is killed
  responses_client.py ask URL KEY     what a program does with the model `shop/chat`, which becomes a chat, and with
                                      `native/chat`, which passes; exits 1 on the first thing that is not as it should be
"""
import gzip
import json
import sys

from messages_client import Backend as Chats
from messages_client import Server, refused

TOOLS = [
    {"type": "function", "name": "get_weather", "description": "The weather of a city", "strict": True,
     "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"],
                    "additionalProperties": False}},
    {"type": "custom", "name": "apply_patch", "description": "Edits files"},
]


class Backend(Chats):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path.endswith("/responses"):
            self.native(body)
        else:
            self.chat(body)

    def native(self, body):
        response = {"id": "resp_own", "object": "response", "created_at": 1, "status": "completed", "model": "chat",
                    "output": [{"id": "msg_own", "type": "message", "role": "assistant", "status": "completed", "content": [
                        {"type": "output_text", "text": json.dumps(sorted(body)), "annotations": []}]}],
                    "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
                    "usage": {"input_tokens": 5, "output_tokens": 4, "total_tokens": 9}}
        if not body.get("stream"):
            return self.reply(response)
        self.events([f"event: {name}\ndata: {json.dumps({'type': name, 'sequence_number': number, 'response': response})}\n\n"
                     for number, name in enumerate(["response.created", "response.completed"])])


def conversation(client, model):
    """Words, and tools with what they said, streamed and not."""
    whole = client.responses.with_raw_response.create(model=model, instructions="Be brief", input="Hello", store=True)
    response = whole.parse()
    assert response.output_text == "Be brief|Hello" and response.status == "completed", response
    assert response.output[0].type == "reasoning" and response.output[0].summary[0].text == "hm", response
    assert response.store is False and response.model == model, response
    usage = response.usage
    assert (usage.input_tokens, usage.output_tokens, usage.input_tokens_details.cached_tokens) == (30, 7, 10), usage
    assert whole.headers["aisbf-warnings"] == "store", whole.headers
    with client.responses.stream(model=model, instructions="Be brief", input="Hello") as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert final.output_text == "Be brief|Hello" and final.usage.output_tokens == 7, final
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == final.output_text, text
    plain = list(client.responses.create(model=model, input="Hello", stream=True))
    assert [event.sequence_number for event in plain] == list(range(len(plain))), plain
    assert plain[-1].type == "response.completed", plain[-1]
    for streamed in (False, True):
        turn = {"model": model, "input": [{"role": "user", "content": [{"type": "input_text", "text": "Weather?"}]}],
                "tools": TOOLS, "include": ["reasoning.encrypted_content"]}
        if streamed:
            with client.responses.stream(**turn) as stream:
                called = stream.get_final_response()
        else:
            called = client.responses.create(**turn)
        assert [item.type for item in called.output] == ["message", "function_call"], called
        call = called.output[1]
        assert call.name == "get_weather" and json.loads(call.arguments) == {"city": "Bern"}, call
        history = turn["input"] + [item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in called.output]
        history.append({"type": "function_call_output", "call_id": call.call_id, "output": "sunny"})
        answer = client.responses.create(**{**turn, "input": history})
        assert answer.output_text == "It is sunny", answer
    print("conversation ok", model)


def failures(openai, url, key):
    attempts = []
    http = openai.DefaultHttpxClient(event_hooks={"request": [lambda request: attempts.append(request.url.path)]})
    client = openai.OpenAI(base_url=url, api_key=key, max_retries=2, http_client=http, timeout=30)

    def ask(text, model="shop/chat", **more):
        return lambda: client.responses.create(model=model, input=text, **more)

    def count():
        number = len(attempts)
        attempts.clear()
        return number

    error = refused(ask("overflow"), openai.BadRequestError)
    assert error.code == "context_length_exceeded" and "maximum context length" in str(error) and count() == 1, error
    for model in ("shop/chat", "native/chat"):
        error = refused(ask("x", model, previous_response_id="resp_1"), openai.BadRequestError)
        assert error.code == "previous_response_not_found" and error.param == "previous_response_id", error
        assert count() == 1
    error = refused(ask("x", "shop/none"), openai.NotFoundError)
    assert error.code == "model_not_found" and count() == 1, error
    refused(ask("limited"), openai.RateLimitError)
    assert count() == 3

    def cut():
        with client.responses.stream(model="shop/chat", input="cut") as stream:
            last = [event for event in stream][-1]
            assert last.type == "response.failed" and last.response.error.code == "stream_interrupted", last
            return stream.get_final_response()

    refused(cut, RuntimeError)
    print("failures ok")


def sockets(openai, url, key):
    """The same over a WebSocket: a turn names the one before, and says only what is new."""
    client = openai.OpenAI(base_url=url, api_key=key, max_retries=0, timeout=30)

    def turn(connection, **more):
        connection.response.create(**more)
        events = []
        while not events or events[-1].type not in ("response.completed", "response.failed", "error"):
            events.append(connection.recv())
        return events

    with client.responses.connect() as connection:
        events = turn(connection, model="shop/chat", input="Weather?", tools=TOOLS)
        called = events[-1].response
        assert [event.sequence_number for event in events] == list(range(len(events))), events
        assert [item.type for item in called.output] == ["message", "function_call"], called
        result = {"type": "function_call_output", "call_id": called.output[1].call_id, "output": "sunny"}
        answer = turn(connection, model="shop/chat", input=[result], tools=TOOLS, previous_response_id=called.id)[-1].response
        assert answer.output[0].content[0].text == "It is sunny" and answer.usage.output_tokens == 7, answer
        error = turn(connection, model="shop/chat", input="x", previous_response_id="resp_1")[-1]
        assert error.type == "error" and error.error.code == "previous_response_not_found", error
        error = turn(connection, model="shop/none", input="x")[-1]
        assert error.type == "error" and error.status == 404 and error.error.code == "model_not_found", error
        # What failed is passed over.
        more = turn(connection, model="shop/chat", input="more", previous_response_id=answer.id)[-1]
        assert more.response.status == "completed", more
        own = turn(connection, model="native/chat", input="x")[-1].response
        assert own.id == "resp_own", own
    try:
        with openai.OpenAI(base_url=url, api_key="sk-aisbf-wrong", max_retries=0).responses.connect() as connection:
            raise SystemExit(f"a wrong key was let in: {connection}")
    except Exception as error:
        assert "401" in str(error), error
    print("sockets ok")


def ask(url, key):
    import openai
    client = openai.OpenAI(base_url=url, api_key=key, max_retries=0, timeout=30)
    conversation(client, "shop/chat")
    native = client.responses.create(model="native/chat", input="x", extra_body={"unknown": 1})
    assert native.id == "resp_own" and json.loads(native.output_text) == ["input", "model", "unknown"], native
    with client.responses.stream(model="native/chat", input="x") as stream:
        assert stream.get_final_response().id == "resp_own"
    assert client.responses.create(model="auto", input="x").output_text
    body = gzip.compress(json.dumps({"model": "shop/chat", "input": "packed"}).encode())
    packed = client.post("/responses", cast_to=object, content=body, options={"headers": {"content-encoding": "gzip", "content-type": "application/json"}})
    assert "packed" in json.dumps(packed), packed
    counted = client.responses.input_tokens.count(model="shop/chat", input="one two three four")
    assert 3 <= counted.input_tokens <= 20, counted
    print("native ok")
    failures(openai, url, key)
    sockets(openai, url, key)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        with Server(("127.0.0.1", 0), Backend) as server:
            print(server.server_address[1], flush=True)
            server.serve_forever()
    else:
        ask(sys.argv[2], sys.argv[3])
