"""`make clients`: programs that people use, each as it is published, at a node whose worker stands at another one and speaks
chat completions only. Command-line programs are set up with 'aisbf connect --write', in a home of their own.

  run.py AISBF BIN [--write Docs/Reference/clients.md] [--only NAME,…] [--record FOLDER]

BIN is where the programs are installed. Prints a table of program and case; with --write it goes into the page. Exits 1 when a
case fails. With --record each command-line program is asked for a word and for a command only, and what it sends is kept in
FOLDER/NAME.json, for the tests of the nodes.
"""
import argparse
import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import recorder

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent
MARKS = ("<!-- made by make clients -->", "<!-- end -->")
SECONDS = 150
MODEL = "shop/chat"

CODEX = ["codex", "exec", "--skip-git-repo-check", "-s", "danger-full-access", "-m", MODEL]
# Whose tools Codex knows: it gives others no tool for patches.
CODEX_OWN = "gpt-5.4"
MCP = {"command": sys.executable, "args": [str(HERE / "probe_server.py")]}


def codex(*more):
    return [*CODEX, "-c", "model_provider=aisbf", *more]


def claude(*more):
    return ["claude", "-p", *more, "--allowedTools", "Bash", "--"]


# What each program is asked with; what stands behind it is the question.
PROGRAMS = {
    "codex": {"version": ["codex", "--version"], "ask": codex()},
    "claude": {"version": ["claude", "--version"], "ask": claude()},
    "llm": {"version": ["llm", "--version"], "ask": ["llm", "-m", "aisbf"]},
    "mini": {"version": [sys.executable, "-m", "pip", "show", "mini-swe-agent"], "ask": ["mini", "-y", "--exit-immediately", "-t"]},
    "aider": {"version": ["aider", "--version"],
              "ask": ["aider", "--yes-always", "--no-git", "--no-check-update", "--no-show-model-warnings", "--no-analytics", "--message"]},
}
LIBRARIES = ["openai-agents", "instructor", "smolagents", "openai-ws", "openwebui", "continue", "zed", "librechat", "accumulator", "openresponses"]


# What is said before may be worth making shorter.
LONG = "Say OK. " + "These words are of no matter. " * 4_000


class Case:
    def __init__(self, name, programs, question, expected=None, *, ask=None, check=None, limited=False, before=()):
        self.name, self.programs, self.question, self.expected = name, programs.split(), question, expected
        self.ask, self.check, self.limited, self.before = ask, check, limited, before


def asked(run, word):
    """What the backend was asked with this word in it."""
    return [body for body in run.seen if word in json.dumps(body)]


def is_refused_at_once(run):
    return run.code != 0 and not run.seen and run.took < 40


def is_told(run):
    return is_refused_at_once(run) and "tokens" in run.output


CASES = [
    Case("a word", "codex claude llm aider", "Say OK", "OK"),
    Case("a command run, and what it said", "codex claude mini", "TOOL: run the command", "scripted-42"),
    Case("two tools in one turn, each run once", "codex claude", "TWO: run the commands", "scripted-42 scripted-43"),
    Case("a worker silent for 23 s in its answer", "codex claude llm", "SILENT: say OK", "OK", check=lambda run: run.took > 23),
    Case("an error behind a whole call: the turn goes on from it", "codex claude", "BREAK: run the command", "scripted-42"),
    Case("a limit that is used up: ends at once", "codex", "Say OK", limited=True, check=is_refused_at_once),
    Case("a limit that is used up: ends at once, with the node's words", "claude llm", "Say OK", limited=True, check=is_told),
    Case("a prompt that is too long: what is asked next is another one", "claude", "OVERFLOW: say OK", ask=claude("--continue"),
         before=[LONG, LONG],
         check=lambda run: len(run.seen) > 1 and run.seen[0]["messages"] != run.seen[1]["messages"]),
    Case("a stream cut before its end: asked once more, and no more", "codex", "CUT: say OK", "OK", check=lambda run: len(asked(run, "CUT")) == 2),
    Case("apply_patch, a free-form tool", "codex", "PATCH: make the file", ask=[*CODEX[:-1], CODEX_OWN, "-c", "model_provider=aisbf"],
         check=lambda run: (run.folder / "made.txt").exists()),
    Case("a tool of an MCP server, in its namespace", "codex", "MCP: ask the probe", "scripted-42",
         ask=codex("-c", f"mcp_servers.probe={{command={json.dumps(MCP['command'])},args={json.dumps(MCP['args'])}}}")),
    Case("openai_base_url: over a WebSocket", "codex", "Say OK", "OK", ask=[*CODEX, "-c", "openai_base_url=URL"],
         check=lambda run: "ERROR" not in run.output),
]


class Mesh:
    """Three nodes, and a worker of the first one; programs ask the second."""

    def __init__(self, aisbf, folder):
        self.aisbf, self.folder, self.children = aisbf, pathlib.Path(folder), []
        self.seen = self.folder / "seen.jsonl"
        self.seen.touch()
        backend = subprocess.Popen([sys.executable, "-u", HERE / "scripted_backend.py", self.seen], stdout=subprocess.PIPE, text=True)
        self.children.append(backend)
        port = backend.stdout.readline().strip()
        up = self.run("local", "up", ROOT / "Topology/triangle.yaml", "--state-dir", self.folder / "s")
        nodes = re.findall(r"^node (\w+)\s+base URL (\S+)\n\s+key\s+(\S+)", up, re.M)
        self.url, self.key = next((url, key) for name, url, key in nodes if name == "b")
        made = self.run("provider", "create", "shop", "--owner", "seller", "--access", "public", "--json",
                        "--data-dir", self.folder / "s/nodes/a")
        worker = json.loads(made)["worker"]
        worker["backend"] = {"kind": "openai", "base_url": f"http://127.0.0.1:{port}/v1"}
        file = self.folder / "worker.json"
        file.write_text(json.dumps(worker))
        file.chmod(0o600)
        log = open(self.folder / "worker.log", "w")
        self.children.append(subprocess.Popen([aisbf, "worker", "run", "--config", file], stdout=log, stderr=log))
        self.wait()

    def run(self, *words):
        done = subprocess.run([self.aisbf, *words], capture_output=True, text=True, timeout=SECONDS)
        if done.returncode:
            raise SystemExit(f"{words}: {done.stdout}{done.stderr}")
        return done.stdout

    def wait(self):
        request = urllib.request.Request(f"{self.url}/models", headers={"authorization": f"Bearer {self.key}"})
        for _ in range(300):
            if f'"{MODEL}"' in urllib.request.urlopen(request, timeout=10).read().decode():
                return
            time.sleep(0.1)
        raise SystemExit("the worker's model is not listed: " + (self.folder / "worker.log").read_text())

    @contextlib.contextmanager
    def limit(self):
        node = ["--data-dir", self.folder / "s/nodes/b"]
        self.run("limit", "set", "user/buyer", "--tokens-per-day", "1", *node)
        try:
            yield
        finally:
            self.run("limit", "remove", "user/buyer", *node)

    def down(self):
        for child in reversed(self.children):
            child.send_signal(signal.SIGTERM)
            child.wait(timeout=30)
        self.run("local", "down", ROOT / "Topology/triangle.yaml", "--state-dir", self.folder / "s")


class Run:
    """What became of one question."""

    def __init__(self, command, environment, folder, mesh):
        self.folder = folder
        before = len(mesh.seen.read_text().splitlines())
        started = time.monotonic()
        try:
            said = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, env=environment, cwd=folder,
                                  stdin=subprocess.DEVNULL)
            self.code, self.stdout, self.output = said.returncode, said.stdout, said.stdout + said.stderr
        except subprocess.TimeoutExpired as error:
            self.code, self.stdout, self.output = -1, "", f"no end within {SECONDS} s: {error.stdout} {error.stderr}"
        except FileNotFoundError as error:
            self.code, self.stdout, self.output = -1, "", str(error)
        self.took = time.monotonic() - started
        self.seen = [json.loads(line) for line in mesh.seen.read_text().splitlines()[before:]]


def version(command, environment):
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, env=environment)
    except FileNotFoundError:
        return None
    found = re.search(r"\d+\.\d+(\.\d+)?", said.stdout + said.stderr)
    return found.group(0) if found and said.returncode == 0 else None


def environment(mesh, binaries, home):
    found = {"PATH": f"{binaries}:{binaries.parent}/aider/bin:/usr/local/bin:/usr/bin:/bin", "HOME": str(home),
             "AISBF_API_KEY": mesh.key, "TERM": "dumb", "LLM_USER_PATH": str(home / "llm"), "DISABLE_TELEMETRY": "1",
             "DISABLE_AUTOUPDATER": "1", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "LITELLM_LOCAL_MODEL_COST_MAP": "True",
             "OPENAI_AGENTS_DISABLE_TRACING": "1", "IS_SANDBOX": "1"}
    for name in ("OPENAI_API_KEY", "CODEX_API_KEY", "LLM_AISBF_KEY", "AISBF_KEY", "LLM_KEY"):
        found[name] = mesh.key
    return found


def judge(name, found, case, run):
    said = case.expected is None or (run.code == 0 and case.expected in run.stdout)
    is_good = said and (case.check is None or case.check(run))
    if not is_good:
        print(f"--- {name}: {case.name} (code {run.code}, {run.took:.0f} s, asked {len(run.seen)})\n{run.output[-3000:]}\n---", file=sys.stderr)
    return (name, found, case.name, "pass" if is_good else "FAIL")


def try_out(name, program, mesh, binaries, folder):
    home = pathlib.Path(folder) / name
    (home / "work").mkdir(parents=True)
    variables = environment(mesh, binaries, home)
    found = version(program["version"], variables)
    if found is None:
        return [(name, "-", "all", "not installed")]
    told = subprocess.run([mesh.aisbf, "connect", name, "--url", mesh.url, "--model", MODEL, "--write", "--json"],
                          check=True, capture_output=True, text=True, env=variables)
    variables |= json.loads(told.stdout)["environment"]
    rows = []
    for number, case in enumerate(CASES):
        if name not in case.programs:
            continue
        work = home / f"work/{number}"
        work.mkdir()
        command = [word.replace("URL", mesh.url) for word in case.ask or program["ask"]] + [case.question]
        command += ["--key", mesh.key] if name == "llm" else []
        with mesh.limit() if case.limited else contextlib.nullcontext():
            for number, question in enumerate(case.before):
                Run(program["ask"][:-3] + (["--continue"] if number else []) + program["ask"][-3:] + [question], variables, work, mesh)
            rows.append(judge(name, found, case, Run(command, variables, work, mesh)))
    if name == "claude":
        rows.append(discovery(found, mesh, variables, home))
    return rows


def discovery(found, mesh, variables, home):
    """What Claude Code shows in its list of models."""
    case = Case("the node's aliases in the list of models", "claude", "Say OK", "OK")
    (home / "work/discovery").mkdir()
    case.check = lambda _: any("claude/auto" in file.read_text() for file in home.rglob("gateway-models.json"))
    quiet = {name: value for name, value in variables.items() if name != "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"}
    quiet["CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY"] = "1"
    return judge("claude", found, case, Run(claude() + ["Say OK"], quiet, home / "work/discovery", mesh))


def library(name, mesh, binaries, folder):
    home = pathlib.Path(folder) / f"library-{name}"
    home.mkdir()
    variables = environment(mesh, binaries, home)
    run = Run([binaries / "python", HERE / "libraries.py", name, mesh.url, mesh.key], variables, home, mesh)
    told = re.findall(r"^(pass|FAIL) (\S+) (.+)$", run.stdout, re.M)
    if run.code or not told or any(result == "FAIL" for result, _, _ in told):
        print(f"--- {name}\n{run.output[-3000:]}\n---", file=sys.stderr)
    return [(name, found, case, result) for result, found, case in told] or [(name, "?", "all", "FAIL")]


def record(names, mesh, binaries, folder, target):
    """What the programs send for a word and for a command."""
    server = recorder.serve(mesh.url)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    mesh.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    CASES[:] = [case for case in CASES if case.question == "Say OK" and not case.limited and not case.ask or case.question.startswith("TOOL")]
    rows = []
    for name in names:
        recorder.Recorder.kept.clear()
        rows += try_out(name, PROGRAMS[name], mesh, binaries, folder)
        if kept := recorder.Recorder.kept:
            (target / f"{name}.json").write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    return rows


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("aisbf", type=lambda path: pathlib.Path(path).resolve())
    parser.add_argument("bin", type=lambda path: pathlib.Path(path).absolute())
    parser.add_argument("--write", type=pathlib.Path)
    parser.add_argument("--only", default=",".join([*PROGRAMS, *LIBRARIES]))
    parser.add_argument("--record", type=lambda path: pathlib.Path(path).absolute())
    told = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="clients-") as folder:
        mesh = Mesh(told.aisbf, folder)
        try:
            if told.record:
                rows += record([name for name in told.only.split(",") if name in PROGRAMS], mesh, told.bin, folder, told.record)
            for name in told.only.split(",") if not told.record else []:
                rows += try_out(name, PROGRAMS[name], mesh, told.bin, folder) if name in PROGRAMS else library(name, mesh, told.bin, folder)
        finally:
            mesh.down()
            if keep := os.environ.get("CLIENTS_SEEN"):
                pathlib.Path(keep).write_text(mesh.seen.read_text())
    table = ["| program | version | case | result |", "|---|---|---|---|"] + [f"| {' | '.join(row)} |" for row in rows]
    print("\n".join(table))
    if told.write:
        text = told.write.read_text()
        before, rest = text.split(MARKS[0], 1)
        behind = rest.split(MARKS[1], 1)[1]
        told.write.write_text(f"{before}{MARKS[0]}\n\n" + "\n".join(table) + f"\n\n{MARKS[1]}{behind}")
    return any(row[3] == "FAIL" for row in rows)


if __name__ == "__main__":
    sys.exit(main())
