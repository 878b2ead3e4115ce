"""Libraries and parsers at a node, for `make clients`: `libraries.py NAME URL KEY` prints a line `pass|FAIL VERSION CASE` for each case.

What cannot be had from PyPI is read here as it reads: the parsers of Continue and Zed, the checks that OpenAI's JavaScript library
makes of a stream, and the cases of the OpenResponses compliance tests. What Open WebUI and LibreChat ask is asked as they ask it.
"""
import asyncio
import importlib.metadata
import json
import sys
import traceback
import urllib.error
import urllib.request

MODEL = "shop/chat"
TOOL = {"name": "get_weather", "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}
CHAT_TOOL = {"type": "function", "function": TOOL}


class Node:
    def __init__(self, url, key):
        self.url, self.host, self.key = url, url.removesuffix("/v1"), key

    def ask(self, path, body=None, base=None, **headers):
        """The answer's status, headers and text, whatever the status."""
        fields = {"authorization": f"Bearer {self.key}", **({"content-type": "application/json"} if body is not None else {}), **headers}
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(urllib.request.Request((base or self.url) + path, data, fields), timeout=60) as answer:
                return answer.status, dict(answer.headers), answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers), error.read().decode()

    def chat(self, text, **more):
        return {"model": MODEL, "messages": [{"role": "user", "content": text}], **more}


def say(name, case, body):
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        version = "-"
    try:
        body()
        print("pass", version, case, flush=True)
    except BaseException:
        traceback.print_exc()
        print("FAIL", version, case, flush=True)


def data(text):
    """The documents of a stream."""
    return [line[5:].strip() for line in text.split("\n") if line.startswith("data:")]


# Libraries


def openai_agents(node):
    from agents import Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, function_tool, set_tracing_disabled
    from openai import AsyncOpenAI
    set_tracing_disabled(True)

    @function_tool
    def get_weather(city: str) -> str:
        """The weather of a city."""
        return f"scripted-42 in {city}"

    client = AsyncOpenAI(base_url=node.url, api_key=node.key)
    for kind in (OpenAIResponsesModel, OpenAIChatCompletionsModel):
        def run(kind=kind):
            agent = Agent(name="a", instructions="i", tools=[get_weather], model=kind(model=MODEL, openai_client=client))
            assert "scripted-42" in Runner.run_sync(agent, "TOOL: the weather").final_output
        say("openai-agents", f"a tool, by {kind.__name__}", run)


def instructor(node):
    import instructor
    import openai
    from pydantic import BaseModel

    class get_weather(BaseModel):
        """The weather of a city."""
        city: str

    def run():
        client = instructor.from_openai(openai.OpenAI(base_url=node.url, api_key=node.key))
        made = client.chat.completions.create(model=MODEL, response_model=get_weather, messages=[{"role": "user", "content": "TOOL: where"}])
        assert made.city == "Bern", made
    say("instructor", "an object made of a tool's call", run)


def smolagents(node):
    from smolagents import OpenAIServerModel, ToolCallingAgent, tool

    @tool
    def get_weather(city: str) -> str:
        """The weather of a city.

        Args:
            city: The city.
        """
        return f"scripted-42 in {city}"

    def run():
        model = OpenAIServerModel(model_id=MODEL, api_base=node.url, api_key=node.key)
        agent = ToolCallingAgent(tools=[get_weather], model=model, max_steps=4, verbosity_level=0)
        assert "scripted-42" in str(agent.run("TOOL: the weather"))
    say("smolagents", "a tool, and its final answer", run)


def openai_ws(node):
    import openai

    def run():
        with openai.OpenAI(base_url=node.url, api_key=node.key).responses.connect() as connection:
            previous = None
            for text in ("Say OK", "again"):
                connection.response.create(model=MODEL, input=text, **({"previous_response_id": previous} if previous else {}))
                while (event := connection.recv()).type not in ("response.completed", "error", "response.failed"):
                    pass
                assert event.type == "response.completed", event
                previous = event.response.id
    say("openai", "responses.connect(), two turns of one conversation", run)


# What programs in a browser and their servers ask


def openwebui(node):
    import aiohttp

    async def asks():
        headers = {"Authorization": f"Bearer {node.key}", "X-OpenWebUI-User-Name": "Ann", "X-OpenWebUI-Chat-Id": "c-1"}
        async with aiohttp.ClientSession(trust_env=True, timeout=aiohttp.ClientTimeout(total=30)) as session:
            async with session.get(f"{node.url}/models", headers=headers) as answer:
                listed = await answer.json()
                assert answer.status == 200 and any(model["id"] == MODEL for model in listed["data"]), listed
            body = node.chat("Say OK", stream=True, stream_options={"include_usage": True})
            async with session.post(f"{node.url}/chat/completions", json=body, headers=headers) as answer:
                assert answer.status == 200 and "text/event-stream" in answer.headers["Content-Type"], answer
                lines = [line.decode().strip() async for line in answer.content]
            documents = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
            assert "".join(choice["delta"].get("content") or "" for each in documents for choice in each["choices"]) == "OK", lines
            assert documents[-1]["usage"]["total_tokens"] == 37 and lines.count("data: [DONE]") == 1, lines
            # The title is asked for beside the chat, and not streamed.
            async with session.post(f"{node.url}/chat/completions", json=node.chat("Say OK", stream=False), headers=headers) as answer:
                assert (await answer.json())["choices"][0]["message"]["content"] == "OK"
            async with session.post(f"{node.url}/embeddings", json={"model": MODEL, "input": ["a"]}, headers=headers) as answer:
                assert answer.status in (200, 400, 404), await answer.text()
    say("aiohttp", "what Open WebUI's server asks: models, a chat, a title", lambda: asyncio.run(asks()))

    def page():
        origin = {"origin": "https://chat.example.org", "access-control-request-method": "POST",
                  "access-control-request-headers": "authorization,content-type"}
        asked = urllib.request.Request(f"{node.url}/chat/completions", method="OPTIONS", headers=origin)
        with urllib.request.urlopen(asked, timeout=30) as answer:
            assert answer.headers["access-control-allow-origin"] in ("*", origin["origin"]), dict(answer.headers)
            assert "authorization" in answer.headers["access-control-allow-headers"].lower(), dict(answer.headers)
    say("aiohttp", "Open WebUI's direct connection: the page's own preflight", page)


def librechat(node):
    def run():
        for base in (node.url, node.host):
            assert MODEL in node.ask("/models", base=base)[2], base
            status, _, text = node.ask("/chat/completions", node.chat("Say OK"), base=base)
            assert status == 200 and json.loads(text)["choices"][0]["message"]["content"] == "OK", text
    say("-", "what LibreChat asks, with a base that ends in /v1 and without", run)


# Parsers


def continue_stream(text):
    """As Continue's streamSse cuts a text into documents."""
    documents, position, is_done, buffer = [], 0, False, text
    while (position := buffer.find("\n")) >= 0:
        line, buffer = buffer[:position], buffer[position + 1:]
        if line.startswith(": ping"):
            is_done = True
        elif line.startswith("data:") and not is_done:
            value = line[5:].lstrip()
            if value == "[DONE]":
                is_done = True
                continue
            document = json.loads(value)
            assert "error" not in document, document
            documents.append(document)
    return documents


def continue_(node):
    def run():
        status, _, text = node.ask("/chat/completions", node.chat("TWO: call", stream=True, tools=[CHAT_TOOL]),
                                   **{"api-key": node.key, "x-api-key": node.key})
        assert status == 200, text
        deltas = [each["choices"][0]["delta"] for each in continue_stream(text) if each["choices"]]
        names = [call["function"]["name"] for delta in deltas for call in delta.get("tool_calls") or [] if call["function"].get("name")]
        assert names == ["get_weather", "get_weather"], text
    say("-", "a stream, as Continue's parser reads it", run)

    def quiet():
        _, _, text = node.ask("/chat/completions", node.chat("SILENT: say OK", stream=True))
        assert ": waiting" in text and ": ping" not in text, text
        assert "".join(each["choices"][0]["delta"].get("content") or "" for each in continue_stream(text) if each["choices"]) == "OK"
    say("-", "a stream that is silent for 23 s, as Continue's parser reads it", quiet)


def zed(node):
    """Its structs: a delta of a call without `index` ends the turn."""
    def run():
        _, _, text = node.ask("/chat/completions", node.chat("TWO: call", stream=True, tools=[CHAT_TOOL], max_completion_tokens=99))
        for document in data(text)[:-1]:
            for choice in json.loads(document)["choices"]:
                assert isinstance(choice["index"], int) and isinstance(choice["delta"], dict)
                for call in choice["delta"].get("tool_calls") or []:
                    assert isinstance(call["index"], int), document
    say("-", "a stream with two calls, as Zed's structs read it", run)


def accumulator(node):
    """What OpenAI's JavaScript library checks of a stream, which is stricter than the others."""
    def chat(question, **more):
        _, _, text = node.ask("/chat/completions", node.chat(question, stream=True, stream_options={"include_usage": True}, **more))
        documents = data(text)
        assert documents.pop() == "[DONE]", text
        message, calls, finish, usage = {}, [], None, None
        for chunk in map(json.loads, documents):
            usage = chunk.get("usage") or usage
            for choice in chunk["choices"]:
                delta = choice["delta"]
                assert finish is None, text
                message["role"] = message.get("role") or delta["role"]
                message["content"] = (message.get("content") or "") + (delta.get("content") or "")
                for call in delta.get("tool_calls") or []:
                    if call["index"] == len(calls):
                        assert call["id"] and call["type"] == "function" and call["function"]["name"], call
                        calls.append({"id": call["id"], "name": call["function"]["name"], "arguments": ""})
                    known = calls[call["index"]]
                    assert call.get("id") in (None, known["id"]) and call["function"].get("name") in (None, known["name"]), call
                    known["arguments"] += call["function"].get("arguments") or ""
                finish = choice["finish_reason"] or finish
        assert message["role"] == "assistant" and finish and usage["total_tokens"] > 0, text
        return message["content"], calls, finish

    def words():
        assert chat("Say OK") == ("OK", [], "stop")
    say("-", "a chat's stream, by the checks of OpenAI's JavaScript library", words)

    def two():
        _, calls, finish = chat("TWO: call", tools=[CHAT_TOOL])
        assert finish == "tool_calls" and [json.loads(call["arguments"]) for call in calls] == [{"city": "Bern"}] * 2, calls
    say("-", "two calls in a chat's stream, by the same", two)

    def responses():
        for question, tools in (("Say OK", []), ("TWO: call", [{"type": "function", **TOOL}])):
            _, _, text = node.ask("/responses", {"model": MODEL, "input": question, "tools": tools, "stream": True})
            check_responses([json.loads(document) for document in data(text)])
    say("-", "streams of Responses, by the same", responses)


def check_responses(events):
    assert events[0]["type"] == "response.created" and events[0]["response"]["id"], events[0]
    output, last = [], -1
    for event in events:
        kind = event["type"]
        assert event["sequence_number"] > last, event
        last = event["sequence_number"]
        if kind == "response.output_item.added":
            item = event["item"]
            assert event["output_index"] == len(output) and item["id"] not in [each["id"] for each in output], event
            assert item["type"] != "function_call" or item["call_id"] not in [each.get("call_id") for each in output], event
            output.append({**item, "parts": 0, "text": ""})
        elif "item_id" in event:
            known = output[event["output_index"]]
            assert event["item_id"] == known["id"], event
            if kind == "response.content_part.added":
                assert event["content_index"] == known["parts"], event
                known["parts"] += 1
            if kind.endswith(".delta"):
                known["text"] += event["delta"]
            if kind in ("response.output_text.done", "response.function_call_arguments.done"):
                assert known["text"] == event.get("text", event.get("arguments")), event
        elif kind == "response.output_item.done":
            known, item = output[event["output_index"]], event["item"]
            assert (item["id"], item["type"], item.get("call_id")) == (known["id"], known["type"], known.get("call_id")), event
    final = events[-1]
    assert final["type"] == "response.completed" and final["response"]["usage"]["input_tokens"] > 0, final
    assert [item["id"] for item in final["response"]["output"]] == [item["id"] for item in output], final
    return final["response"]


def openresponses(node):
    """The base cases of the OpenResponses compliance tests."""
    tool = {"type": "function", **TOOL}
    picture = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

    def whole(**body):
        status, _, text = node.ask("/responses", {"model": MODEL, **body})
        response = json.loads(text)
        assert status == 200 and response["object"] == "response" and response["status"] == "completed", text
        for name in ("id", "created_at", "model", "output", "parallel_tool_calls", "tool_choice", "tools", "temperature", "top_p", "text",
                     "truncation", "usage", "error", "incomplete_details", "instructions", "metadata", "store", "previous_response_id"):
            assert name in response, name
        return response["output"]

    cases = {
        "basic": lambda: whole(input=[{"type": "message", "role": "user", "content": "Say OK"}])[0]["content"][0]["text"] == "OK",
        "system prompt": lambda: whole(input=[{"type": "message", "role": "system", "content": "Be brief"},
                                              {"type": "message", "role": "user", "content": "Say OK"}]),
        "tool calling": lambda: whole(input="TOOL: the weather", tools=[tool])[0]["type"] == "function_call",
        "image input": lambda: whole(input=[{"type": "message", "role": "user", "content": [
            {"type": "input_text", "text": "Say OK"}, {"type": "input_image", "image_url": picture}]}]),
        "multi-turn": lambda: whole(input=[{"type": "message", "role": "user", "content": "a"},
                                           {"type": "message", "role": "assistant", "content": "b"},
                                           {"type": "message", "role": "user", "content": "Say OK"}]),
        "streaming": lambda: check_responses([json.loads(each) for each in data(
            node.ask("/responses", {"model": MODEL, "input": "Say OK", "stream": True})[2])]),
    }
    for name, case in cases.items():
        def run(case=case):
            assert case()
        say("-", f"OpenResponses: {name}", run)


if __name__ == "__main__":
    name = sys.argv[1].replace("-", "_")
    globals()["continue_" if name == "continue" else name](Node(sys.argv[2], sys.argv[3]))
