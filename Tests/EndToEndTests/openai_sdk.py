"""The official OpenAI SDK against one node: BASE_URL KEY. Prints one line per check; exits 1 on the first failure."""
import sys

import openai

base_url, key = sys.argv[1], sys.argv[2]
client = openai.OpenAI(base_url=base_url, api_key=key, max_retries=0, timeout=20)
question = [{"role": "user", "content": "Hello from the SDK"}]

models = [model.id for model in client.models.list()]
assert models, "models.list is empty"
print("models", models)

whole = client.chat.completions.create(model=models[0], messages=question)
text = whole.choices[0].message.content
assert "Hello from the SDK" in text, text
assert whole.usage.total_tokens > 0
print("chat ok")

pieces = []
for event in client.chat.completions.create(model=models[0], messages=question, stream=True):
    if event.choices and event.choices[0].delta.content:
        pieces.append(event.choices[0].delta.content)
assert len(pieces) > 3, pieces
assert "".join(pieces) == text, ("".join(pieces), text)
print("stream ok", len(pieces))

try:
    client.chat.completions.create(model="demo/no-such-model", messages=question)
    raise SystemExit("an unknown model was answered")
except openai.NotFoundError as error:
    assert error.code == "model_not_found", error.code
    print("unknown model ok")

try:
    openai.OpenAI(base_url=base_url, api_key="sk-aisbf-wrong", max_retries=0).models.list()
    raise SystemExit("a wrong key was accepted")
except openai.AuthenticationError as error:
    assert error.code == "invalid_api_key", error.code
    print("wrong key ok")

try:
    client.chat.completions.create(model=models[0], messages=question, extra_body={"stream": "yes"})
    raise SystemExit("a wrong type was accepted")
except openai.BadRequestError as error:
    assert error.code == "invalid_request", error.code
    print("bad request ok")
