"""The official OpenAI SDK against one node: BASE_URL KEY [MODEL]. Prints one line per check; exits 1 on the first failure."""
import sys

import openai

base_url, key = sys.argv[1], sys.argv[2]
client = openai.OpenAI(base_url=base_url, api_key=key, max_retries=0, timeout=20)
question = [{"role": "user", "content": "Hello from the SDK"}]

models = [model.id for model in client.models.list()]
assert models, "models.list is empty"
print("models", models)
model = sys.argv[3] if len(sys.argv) > 3 else models[0]
# Policies are chosen by name and not listed.
assert model in models or model.startswith("auto"), model

whole = client.chat.completions.create(model=model, messages=question)
text = whole.choices[0].message.content
assert "Hello from the SDK" in text, text
assert whole.usage.total_tokens > 0
print("chat ok")

pieces = []
for event in client.chat.completions.create(model=model, messages=question, stream=True):
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
    client.chat.completions.create(model=model, messages=question, extra_body={"stream": "yes"})
    raise SystemExit("a wrong type was accepted")
except openai.BadRequestError as error:
    assert error.code == "invalid_request", error.code
    print("bad request ok")

vectors = client.embeddings.create(model=model, input=["one", "two"], encoding_format="float")
assert len(vectors.data) == 2 and len(vectors.data[0].embedding) == 8, vectors
print("embeddings ok")

speech = client.audio.speech.create(model=model, voice="alloy", input="four words are enough")
sound = speech.read()
assert sound[:4] == b"RIFF" and len(sound) == 44 + 4 * 4000, len(sound)
print("speech ok", len(sound))

heard = client.audio.transcriptions.create(model=model, file=("sound.wav", sound, "audio/wav"))
assert heard.text == f"The demo backend heard {len(sound)} bytes of sound.wav.", heard.text
print("transcription ok")

picture = client.images.generate(model=model, prompt="a grey pixel", response_format="b64_json")
assert picture.data[0].b64_json.startswith("iVBOR"), picture
print("image ok")

# Files are asked for without a model, of whoever keeps them.
if len(sys.argv) <= 3:
    # 32 MiB: far more than any node holds of one answer.
    size = 32 << 20
    content = client.files.content(f"demo-{size}").read()
    assert len(content) == size and content == bytes(i & 255 for i in range(65536)) * (size // 65536)
    print("file ok", len(content))

    # And an upload that no node holds: it passes while it arrives.
    sent = client.files.create(file=("big.bin", content, "application/octet-stream"), purpose="assistants",
                               extra_query={"provider": models[0].split("/")[0]})
    assert sent.bytes == len(content) and sent.filename == "big.bin", sent
    print("upload ok", sent.bytes)

try:
    client.moderations.create(model=model, input="x")
    raise SystemExit("an endpoint nobody offers was answered")
except openai.NotFoundError as error:
    assert error.code == "endpoint_not_offered", error.code
    print("unknown endpoint ok")
