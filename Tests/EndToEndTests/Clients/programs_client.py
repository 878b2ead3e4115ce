"""Libraries that programs are written with, on a node whose worker speaks chat completions: each in its own way, by the chats
of OpenAI's API, by its Responses and by Anthropic's Messages; words, a stream, and a tool with what it said.

  programs_client.py HOST KEY NAME    NAME is langchain, litellm or pydantic; exits 1 on the first thing that is not as it
                                      should be
"""
import asyncio
import os
import sys

MODEL = "shop/chat"


def get_weather(city: str) -> str:
    """The weather of a city"""
    assert city == "Bern", city
    return "sunny"


def langchain(host, key):
    from langchain_anthropic import ChatAnthropic
    from langchain_core.messages import HumanMessage, ToolMessage
    from langchain_openai import ChatOpenAI

    models = {
        "chat": ChatOpenAI(base_url=f"{host}/v1", api_key=key, model=MODEL, max_retries=0),
        "responses": ChatOpenAI(base_url=f"{host}/v1", api_key=key, model=MODEL, max_retries=0, use_responses_api=True),
        "messages": ChatAnthropic(base_url=host, api_key=key, model=MODEL, max_retries=0),
    }
    for name, model in models.items():
        assert model.invoke("Hello").text.endswith("|Hello"), name
        pieces = list(model.stream("Hello"))
        assert "".join(piece.text for piece in pieces).endswith("|Hello") and len(pieces) > 3, (name, pieces)
        whole = pieces[0]
        for piece in pieces[1:]:
            whole += piece
        assert name == "chat" or whole.usage_metadata["output_tokens"] == 7, (name, whole.usage_metadata)
        bound = model.bind_tools([get_weather])
        called = bound.invoke([HumanMessage("Weather?")])
        call = called.tool_calls[0]
        assert call["name"] == "get_weather" and call["args"] == {"city": "Bern"}, (name, called)
        said = ToolMessage(get_weather(**call["args"]), tool_call_id=call["id"])
        answer = bound.invoke([HumanMessage("Weather?"), called, said])
        assert answer.text == "It is sunny", (name, answer)
        print("langchain ok", name)


def litellm(host, key):
    import litellm

    tool = {"type": "function", "function": {"name": "get_weather", "description": "The weather of a city", "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}
    ways = {"chat": (f"openai/{MODEL}", f"{host}/v1"), "messages": (f"anthropic/{MODEL}", host)}
    for name, (model, base) in ways.items():
        ask = {"model": model, "api_base": base, "api_key": key, "num_retries": 0, "max_tokens": 50}
        hello = [{"role": "user", "content": "Hello"}]
        assert litellm.completion(messages=hello, **ask).choices[0].message.content.endswith("|Hello"), name
        pieces = [chunk.choices[0].delta.content or "" for chunk in litellm.completion(messages=hello, stream=True, **ask)
                  if chunk.choices]
        assert "".join(pieces).endswith("|Hello") and len(pieces) > 3, (name, pieces)
        turn = [{"role": "user", "content": "Weather?"}]
        called = litellm.completion(messages=turn, tools=[tool], **ask).choices[0].message
        assert called.tool_calls[0].function.arguments.replace(" ", "") == '{"city":"Bern"}', (name, called)
        turn += [called.model_dump(), {"role": "tool", "tool_call_id": called.tool_calls[0].id, "content": "sunny"}]
        assert litellm.completion(messages=turn, tools=[tool], **ask).choices[0].message.content == "It is sunny", name
        try:
            litellm.completion(messages=[{"role": "user", "content": "overflow"}], **ask)
            raise SystemExit("a prompt that is too long was answered")
        except litellm.ContextWindowExceededError:
            pass
        print("litellm ok", name)
    answer = litellm.responses(model=f"openai/{MODEL}", api_base=f"{host}/v1", api_key=key, input="Hello")
    assert answer.output[-1].content[0].text.endswith("|Hello"), answer
    print("litellm ok responses")


def pydantic(host, key):
    from pydantic_ai import Agent
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
    from pydantic_ai.providers.anthropic import AnthropicProvider
    from pydantic_ai.providers.openai import OpenAIProvider

    theirs = OpenAIProvider(base_url=f"{host}/v1", api_key=key)
    models = {"chat": OpenAIChatModel(MODEL, provider=theirs), "responses": OpenAIResponsesModel(MODEL, provider=theirs),
              "messages": AnthropicModel(MODEL, provider=AnthropicProvider(base_url=host, api_key=key))}

    async def run(name, model):
        plain = Agent(model)
        assert (await plain.run("Hello")).output.endswith("|Hello"), name
        async with plain.run_stream("Hello") as streamed:
            pieces = [piece async for piece in streamed.stream_text(delta=True, debounce_by=None)]
        assert "".join(pieces).endswith("|Hello") and len(pieces) > 3, (name, pieces)
        result = await Agent(model, tools=[get_weather]).run("Weather?")
        assert result.output == "It is sunny", (name, result)
        print("pydantic ok", name)

    async def every():
        for name, model in models.items():
            await run(name, model)

    asyncio.run(every())


if __name__ == "__main__":
    # Nothing is asked of anybody else.
    os.environ.update(LITELLM_LOCAL_MODEL_COST_MAP="True", LANGSMITH_TRACING="false", DO_NOT_TRACK="1")
    {"langchain": langchain, "litellm": litellm, "pydantic": pydantic}[sys.argv[3]](sys.argv[1], sys.argv[2])
