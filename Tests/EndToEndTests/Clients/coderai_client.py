"""A CoderAI worker of generation A, B, C, D or E over a real WebSocket, as Docs/Protocol/worker-session.md describes them.

It needs the `websockets` package. It prints one line per thing that happens and runs until it is stopped. The model a
buyer asks for decides what is answered:

    echo          an answer that repeats the question
    slow          the same, word by word with pauses
    fail-text     an error envelope whose error is a text        fail-object   one whose error is an object
    fail-status   a 4xx whose body is {"error": "text"}          fail-openai   a 4xx with OpenAI's error object
    fail-late     an error after the first content of a stream   fail-event    an error event in the stream, no [DONE]
    crash         nothing at all, as a crashed handler

Proxied requests are answered as that generation would: speech (A, B: base64 without a status; C: wrapped; D: chunks of
base64; E: progress, then the result inside `completed`), images (a document in the same ways) and transcriptions (an echo
of the form or of the bytes). Of requests it prints the operation, of proxied ones the method and path.
"""
import argparse
import asyncio
import base64
import hashlib
import json
import sys
import time
import urllib.parse

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

SPEAKS_FIRST = {"A": False, "B": False, "C": True, "D": True, "E": True}
WRAPS = {"A": False, "B": False, "C": True, "D": True, "E": True}
CHUNKS = {"A": False, "B": False, "C": False, "D": True, "E": True}
MODELS = ["echo", "slow", "fail-text", "fail-object", "fail-status", "fail-openai", "fail-late", "fail-event", "crash"]
# Where released workers take brokered requests.
PROXIED = ("/v1/models", "/v1/chat/completions", "/v1/images", "/v1/audio", "/v1/video", "/v1/pipelines", "/v1/files",
           "/coderai/capabilities", "/admin", "/static")


class Failure(Exception):
    def __init__(self, code, message, status=None, openai=False):
        super().__init__(message)
        self.code, self.message, self.status, self.openai = code, message, status, openai


def say(*words):
    print(*words, flush=True)


class Worker:
    def __init__(self, options):
        self.options = options
        self.generation = options.generation
        self.socket = None
        self.tasks = {}
        self.turn = asyncio.Lock()
        self.sent = 0

    # The connection

    def address(self):
        scope = "" if self.options.scope == "global" else "/u/" + urllib.parse.quote(self.options.username)
        url = self.options.url.rstrip("/") + f"/api{scope}/coderai/wss"
        identity = {"provider_id": self.options.provider_id, "client_id": self.options.client_id,
                    "username": self.options.username, "registration_token": self.options.token}
        headers = {}
        if self.options.identity in ("query", "both"):
            url += "?" + urllib.parse.urlencode(identity)
        if self.options.identity in ("headers", "both"):
            headers = {"x-coderai-" + name.replace("_", "-"): value for name, value in identity.items()}
        if self.options.identity == "bearer":
            headers = {"authorization": "Bearer " + self.options.token,
                       "x-coderai-provider-id": self.options.provider_id,
                       "x-coderai-client-id": self.options.client_id}
        return url, headers

    async def run(self):
        delay = self.options.reconnect
        while True:
            try:
                await self.session()
                delay = self.options.reconnect
            except InvalidStatus as error:
                say("refused", error.response.status_code)
            except ConnectionClosed as error:
                received = error.rcvd
                say("closed", received.code if received else "-", received.reason if received else "")
            except (OSError, asyncio.TimeoutError, Failure) as error:
                say("failed", type(error).__name__, error)
            for task in list(self.tasks.values()):
                task.cancel()
            self.tasks.clear()
            if self.options.once:
                return
            await asyncio.sleep(delay)
            delay = min(delay * 2, 60)

    async def session(self):
        url, headers = self.address()
        async with connect(url, additional_headers=headers, open_timeout=10, ping_interval=20, ping_timeout=20,
                           max_size=1 << 20, compression=None) as self.socket:
            if SPEAKS_FIRST[self.generation]:
                await self.register("reg-1")
                answer = json.loads(await asyncio.wait_for(self.socket.recv(), 30))
                good = answer.get("event") == "registered" and answer.get("status") == "ok" and answer.get("session_id")
            else:
                greeting = json.loads(await asyncio.wait_for(self.socket.recv(), 30))
                if greeting.get("event") != "registered" or greeting.get("accepted") is not True:
                    raise Failure("handshake", f"greeted with {greeting}")
                say("greeted", greeting["session_id"])
                await self.register(greeting["session_id"] if self.generation == "B" else "reg-1")
                answer = json.loads(await asyncio.wait_for(self.socket.recv(), 30))
                good = self.generation == "A" or answer.get("status") == "ok"
            if not good:
                raise Failure("handshake", f"answered with {answer}")
            say("registered", answer["session_id"])
            beats = asyncio.create_task(self.beat()) if SPEAKS_FIRST[self.generation] else None
            try:
                while True:
                    # A and B connect anew after 30 s without a frame, the others after 90 s.
                    silence = 90 if SPEAKS_FIRST[self.generation] else 30
                    await self.received(json.loads(await asyncio.wait_for(self.socket.recv(), silence)))
            finally:
                if beats:
                    beats.cancel()

    async def register(self, request_id):
        gpu = {"index": 0, "name": "Test GPU", "vendor": "nvidia", "total_vram_mb": 24576, "available_vram_mb": 20480}
        message = {"op": "register", "request_id": request_id, "registration_token": self.options.token, "payload": {
            "endpoint": "http://127.0.0.1:1", "transport": "websocket", "registration_token": self.options.token,
            "hardware": {"hostname": "test", "platform": "linux", "gpus": [gpu], "gpu_count": 1},
            "studio_endpoints": ["v1/images/generations", "v1/audio/speech", "v1/audio/transcriptions"],
            "capabilities": {"server": "codai", "version": f"{self.generation}.0", "transports": ["websocket"],
                             "tunnel_only": True, "openai_compat": {"chat_completions": True, "models": True},
                             "studio": {"enabled": True, "supported": True, "endpoints": ["v1/images/generations"]}}}}
        if self.generation != "A":
            message["v"] = 1
        await self.send(message)

    async def beat(self):
        while True:
            await asyncio.sleep(30)
            await self.send({"v": 1, "op": "heartbeat", "request_id": f"hb-{time.time_ns()}", "payload": {
                "uptime": 1, "hardware": {"gpus": [{"index": 0, "available_vram_mb": 18432}]}}})

    async def send(self, message):
        if self.options.damaged_utf8 and self.sent % 5 == 4:
            # A text frame whose bytes are no UTF-8: the node may drop the frame, never the session.
            await self.socket.send(b'{"request_id":"x\xff\xc3","status":"ok"}', text=True)
        self.sent += 1
        await self.socket.send(json.dumps(message, ensure_ascii=self.generation in ("A", "B")))

    # Requests

    async def received(self, message):
        operation, request_id = message.get("op"), message.get("request_id")
        if message.get("event") == "heartbeat" or message.get("event") == "registered":
            return
        say("request", operation, request_id)
        if operation == "heartbeat":
            await self.send({"v": 1, "request_id": request_id, "status": "ok", "event": "heartbeat",
                             "payload": {"ts": int(time.time())}})
            return
        task = asyncio.create_task(self.serve(operation, request_id, message.get("payload") or {}))
        self.tasks[request_id] = task
        task.add_done_callback(lambda _: self.tasks.pop(request_id, None))

    async def serve(self, operation, request_id, payload):
        if self.options.serial:
            async with self.turn:
                await self.answer(operation, request_id, payload)
        else:
            await self.answer(operation, request_id, payload)

    async def answer(self, operation, request_id, payload):
        started = time.monotonic()
        pending = None
        try:
            if self.options.pending and operation in ("chat.completions", "proxy"):
                pending = asyncio.create_task(self.keep_alive(request_id))
                await asyncio.sleep(0)
            if operation == "models.list":
                items = [{"id": model, "object": "model", "context_window": 8192} for model in self.options.models]
                await self.reply(request_id, {"object": "list", "data": items}, started)
            elif operation == "capabilities":
                await self.reply(request_id, {"server": "codai", "version": f"{self.generation}.0"}, started)
            elif operation == "chat.completions":
                await self.chat(request_id, payload, started)
            elif operation == "proxy":
                await self.proxy(request_id, payload, started)
            else:
                raise Failure("unsupported_operation", f"operation {operation} is not supported")
        except Failure as failure:
            await self.fail(request_id, failure, started)
        except ConnectionClosed:
            pass
        finally:
            if pending:
                pending.cancel()

    async def keep_alive(self, request_id):
        while True:
            await self.send({"v": 1, "event": "pending", "status": "pending", "request_id": request_id,
                             "payload": {"message": "processing", "estimated_timeout": 300}})
            await asyncio.sleep(30)

    async def reply(self, request_id, document, started, status=200):
        if WRAPS[self.generation]:
            body = json.dumps(document, ensure_ascii=False)
            await self.wrapped(request_id, started, status, "application/json", body=body)
        elif self.generation == "B":
            await self.send({"v": 1, "request_id": request_id, "status": "ok", "payload": document})
        else:
            await self.send({"ok": True, "request_id": request_id, "payload": document})

    async def wrapped(self, request_id, started, status, content_type, **body):
        payload = {"status_code": status, "headers": {"content-type": content_type, "content-length": "0"},
                   "content_type": content_type, **body}
        await self.send({"v": 1, "request_id": request_id, "status": "ok", "payload": payload,
                         "metrics": {"elapsed_ms": round((time.monotonic() - started) * 1000, 3)}})

    async def fail(self, request_id, failure, started):
        if failure.status and WRAPS[self.generation]:
            error = failure.message
            if failure.openai:
                error = {"message": failure.message, "type": "invalid_request_error", "code": failure.code}
            await self.reply(request_id, {"error": error}, started, failure.status)
        elif self.generation == "A":
            await self.send({"ok": False, "request_id": request_id, "error": failure.message, "code": failure.code})
        elif self.generation == "B":
            await self.send({"v": 1, "request_id": request_id, "status": "error", "error": failure.message,
                             "code": failure.code, "details": {}})
        else:
            await self.send({"v": 1, "request_id": request_id, "status": "error", "error": {
                "code": failure.code, "message": failure.message, "details": {}}})

    async def proxy(self, request_id, payload, started):
        path = payload.get("endpoint_path", "")
        if not path.startswith(PROXIED):
            raise Failure("unsupported_endpoint", f"{path} is not proxied", 404)
        say("proxied", payload.get("method"), path)
        if path == "/v1/audio/speech":
            await self.binary(request_id, bytes(range(256)) * 4, "audio/wav", "speech.wav", started)
        elif path == "/v1/images/generations":
            picture = {"created": 1, "data": [{"b64_json": "iVBORw0KGgo="}],
                       "prompt": (payload.get("body") or {}).get("prompt")}
            await self.working(request_id)
            await self.result(request_id, picture, started)
        elif path == "/v1/audio/transcriptions":
            await self.result(request_id, self.echo(payload), started)
        else:
            raise Failure("not_found", f"nothing at {path}", 404)

    def echo(self, payload):
        """What of a form or of other bytes arrived, so that the buyer can compare. As released workers do, a `body`
        wins over everything else."""
        if "body" in payload:
            return {"body": payload["body"]}
        form = payload.get("multipart") or {}
        if form:
            files = [{"name": file["name"], "filename": file["filename"], "content_type": file["content_type"],
                      "sha256": hashlib.sha256(base64.b64decode(file["data_base64"])).hexdigest()}
                     for file in form.get("files", [])]
            return {"fields": form.get("fields", []), "files": files}
        data = base64.b64decode(payload.get("body_base64", ""))
        return {"sha256": hashlib.sha256(data).hexdigest(), "content_type": payload.get("content_type")}

    async def working(self, request_id):
        """Generation E tells how far it is."""
        if self.generation == "E":
            for percent in (10, 60):
                await self.send({"v": 1, "event": "progress", "status": "ok", "request_id": request_id,
                                 "payload": {"percent": percent, "message": "sampling"}})

    async def result(self, request_id, document, started):
        """A document: as it is (A, B), wrapped (C, D), or wrapped inside the event that ends the work (E)."""
        if self.generation == "E":
            await self.completed(request_id, started, "application/json", body=json.dumps(document))
        else:
            await self.reply(request_id, document, started)

    async def completed(self, request_id, started, content_type, **body):
        await self.send({"v": 1, "event": "completed", "status": "ok", "request_id": request_id, "payload": {
            "status_code": 200, "headers": {}, "content_type": content_type, **body},
            "metrics": {"elapsed_ms": round((time.monotonic() - started) * 1000, 3)}})

    async def binary(self, request_id, data, content_type, filename, started):
        text = base64.b64encode(data).decode()
        if self.generation in ("A", "B"):
            payload = {"content_type": content_type, "body_base64": text, "filename": filename}
            if self.generation == "A":
                await self.send({"ok": True, "request_id": request_id, "payload": payload})
            else:
                await self.send({"v": 1, "request_id": request_id, "status": "ok", "payload": payload})
        elif self.generation == "C":
            await self.wrapped(request_id, started, 200, content_type, body_base64=text, filename=filename)
        elif self.generation == "D":
            # Raw reads of the backend, each encoded by itself.
            for sequence, start in enumerate(range(0, len(data), 100), 1):
                piece = base64.b64encode(data[start:start + 100]).decode()
                await self.send({"v": 1, "event": "chunk", "request_id": request_id, "payload": {
                    "content_type": content_type, "chunk": {"encoding": "base64", "data": piece},
                    "sequence": sequence}})
            await self.send({"v": 1, "event": "done", "request_id": request_id, "payload": {}})
        else:
            await self.working(request_id)
            await self.completed(request_id, started, content_type, body_base64=text, filename=filename)

    # Chat completions

    async def chat(self, request_id, body, started):
        model = str(body.get("model"))
        if model not in self.options.models:
            raise Failure("model_not_found", f"model {model} is not loaded")
        if model == "crash":
            await asyncio.sleep(3600)
        if model == "fail-text" or model == "fail-object":
            raise Failure("backend_failed", "the backend failed")
        if model in ("fail-status", "fail-openai"):
            raise Failure("context_length_exceeded", "the question is too long", 422, model == "fail-openai")
        words = self.words(body)
        usage = {"prompt_tokens": 3, "completion_tokens": len(words), "total_tokens": 3 + len(words)}
        if body.get("stream") and self.generation != "B":
            await self.stream(request_id, model, words, usage, started)
        else:
            if model == "slow":
                await asyncio.sleep(len(words) * 0.2)
            await self.reply(request_id, {
                "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": model, "usage": usage,
                "choices": [{"index": 0, "finish_reason": "stop",
                             "message": {"role": "assistant", "content": "".join(words)}}]}, started)

    def words(self, body):
        question = str((body.get("messages") or [{}])[-1].get("content", ""))
        text = f"Generation {self.generation} says: {question} – äöü €uro 😀 done"
        return [word if first == 0 else " " + word for first, word in enumerate(text.split(" "))]

    def events(self, model, words, usage):
        def event(delta, **more):
            document = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model,
                        "choices": [{"index": 0, "delta": delta, "finish_reason": None}], **more}
            return "data: " + json.dumps(document, ensure_ascii=False) + "\n\n"
        yield event({"role": "assistant"})
        for index, word in enumerate(words):
            if index == 2 and model == "fail-event":
                yield 'data: {"error":"the model ran out of memory"}\n\n'
                return
            yield event({"content": word})
        last = event({}, usage=usage)
        yield last.replace('"finish_reason": null', '"finish_reason": "stop"')
        if self.generation != "E":
            yield "data: [DONE]\n\n"

    async def stream(self, request_id, model, words, usage, started):
        events = list(self.events(model, words, usage))
        if CHUNKS[self.generation]:
            await self.chunks(request_id, model, events)
        elif self.generation == "A":
            for number, event in enumerate(events):
                if model == "fail-late" and number == 3:
                    raise Failure("backend_failed", "the backend failed late")
                await self.send({"ok": True, "request_id": request_id, "event": "stream", "data": event})
                if model == "slow":
                    await asyncio.sleep(0.2)
            await self.send({"ok": True, "request_id": request_id, "event": "stream_end"})
        else:
            if model == "slow":
                await asyncio.sleep(len(events) * 0.2)
            await self.wrapped(request_id, started, 200, "text/event-stream", body="".join(events))

    async def chunks(self, request_id, model, events):
        """Raw reads of the backend: not aligned to events, nor to characters where --split-events says so."""
        data = "".join(events).encode()
        size = 7 if self.options.split_events else 150
        for sequence, start in enumerate(range(0, len(data), size), 1):
            if model == "fail-late" and start > len(data) / 2:
                raise Failure("backend_failed", "the backend failed late")
            piece = data[start:start + size]
            try:
                payload = {"chunk": piece.decode(), "sequence": sequence}
            except UnicodeDecodeError:
                payload = {"chunk": {"data_base64": base64.b64encode(piece).decode()}, "sequence": sequence}
            await self.send({"v": 1, "event": "chunk", "request_id": request_id, "payload": payload})
            if model == "slow":
                await asyncio.sleep(0.2)
        await self.send({"v": 1, "event": "done", "request_id": request_id, "payload": {}})


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generation", required=True, choices=list("ABCDE"))
    parser.add_argument("--url", required=True, help="ws://host:port, with a path where a proxy adds one")
    parser.add_argument("--scope", default="user", choices=["user", "global"])
    parser.add_argument("--username", default="global")
    parser.add_argument("--provider-id", default="coderai")
    parser.add_argument("--client-id", default="test-client")
    parser.add_argument("--token", required=True)
    parser.add_argument("--identity", default="both", choices=["query", "headers", "both", "bearer"])
    parser.add_argument("--models", default=",".join(MODELS), type=lambda text: text.split(","))
    parser.add_argument("--pending", choices=["on", "off"], help="keep-alives; on for C and D, else off")
    parser.add_argument("--serial", action="store_true", help="one request at a time")
    parser.add_argument("--damaged-utf8", action="store_true", help="a text frame that is no UTF-8 now and then")
    parser.add_argument("--split-events", action="store_true", help="chunks of seven bytes")
    parser.add_argument("--reconnect", default=1.0, type=float, help="seconds before the first new attempt")
    parser.add_argument("--once", action="store_true", help="do not connect again")
    options = parser.parse_args()
    options.pending = options.pending == "on" if options.pending else options.generation in "CD"
    return options


if __name__ == "__main__":
    try:
        asyncio.run(Worker(arguments()).run())
    except KeyboardInterrupt:
        sys.exit(0)
