"""`make clients`: command-line programs that people use, each as it is published, at a node whose worker stands at another one
and speaks chat completions only. Each is set up with 'aisbf connect --write', in a home of its own.

  run.py AISBF BIN [--write Docs/Reference/clients.md] [--only NAME,…]

BIN is where the programs are installed. Prints a table of program and case; with --write it goes into the page. Exits 1 when a
case fails.
"""
import argparse
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent
MARKS = ("<!-- made by make clients -->", "<!-- end -->")
SECONDS = 120

# How each program says its version, is asked something, and is asked for something that needs its tool for commands.
PROGRAMS = {
    "codex": {
        "version": ["codex", "--version"], "model": "shop/chat",
        "ask": ["codex", "exec", "--skip-git-repo-check", "-s", "danger-full-access", "-c", "model_provider=aisbf", "-m", "shop/chat"],
        "tool": True,
    },
    "claude": {
        "version": ["claude", "--version"], "model": "shop/chat", "ask": ["claude", "-p", "--allowedTools", "Bash", "--"],
        "tool": True,
    },
    "llm": {"version": ["llm", "--version"], "model": "shop/chat", "ask": ["llm", "-m", "aisbf"], "tool": False},
}
CASES = [("a word", "Say OK", "OK"), ("a command run, and what it said", "TOOL: run the command", "scripted-42")]


class Mesh:
    """Three nodes, and a worker of the first one; programs ask the second."""

    def __init__(self, aisbf, folder):
        self.aisbf, self.folder, self.children = aisbf, pathlib.Path(folder), []
        self.seen = self.folder / "seen.jsonl"
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
        return subprocess.run([self.aisbf, *words], check=True, capture_output=True, text=True, timeout=SECONDS).stdout

    def wait(self):
        import time
        import urllib.request
        request = urllib.request.Request(f"{self.url}/models", headers={"authorization": f"Bearer {self.key}"})
        for _ in range(300):
            if '"shop/chat"' in urllib.request.urlopen(request, timeout=10).read().decode():
                return
            time.sleep(0.1)
        raise SystemExit("the worker's model is not listed: " + (self.folder / "worker.log").read_text())

    def down(self):
        for child in reversed(self.children):
            child.send_signal(signal.SIGTERM)
            child.wait(timeout=30)
        self.run("local", "down", ROOT / "Topology/triangle.yaml", "--state-dir", self.folder / "s")


def version(command, environment):
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, env=environment)
    except FileNotFoundError:
        return None
    found = re.search(r"\d+\.\d+(\.\d+)?", said.stdout + said.stderr)
    return found.group(0) if found else "?"


def try_out(name, program, mesh, binaries, folder):
    home = pathlib.Path(folder) / name
    (home / "work").mkdir(parents=True)
    environment = {"PATH": f"{binaries}:/usr/local/bin:/usr/bin:/bin", "HOME": str(home), "AISBF_API_KEY": mesh.key, "TERM": "dumb",
                   "LLM_USER_PATH": str(home / "llm"), "DISABLE_TELEMETRY": "1", "DISABLE_AUTOUPDATER": "1",
                   "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    found = version(program["version"], environment)
    if found is None:
        return [(name, "-", case, "not installed") for case, _, _ in CASES]
    told = subprocess.run([mesh.aisbf, "connect", name, "--url", mesh.url, "--model", program["model"], "--write", "--json"],
                          check=True, capture_output=True, text=True, env=environment)
    environment |= json.loads(told.stdout)["environment"]
    environment["OPENAI_API_KEY"] = environment["LLM_AISBF_KEY"] = environment["AISBF_KEY"] = mesh.key
    rows = []
    for case, question, expected in CASES:
        if "TOOL" in question and not program["tool"]:
            continue
        ask = program["ask"] + [question]
        if name == "llm":
            ask += ["--key", mesh.key]
        try:
            said = subprocess.run(ask, capture_output=True, text=True, timeout=SECONDS, env=environment, cwd=home / "work",
                                  stdin=subprocess.DEVNULL)
            isGood = said.returncode == 0 and expected in said.stdout
            output = said.stdout + said.stderr
        except subprocess.TimeoutExpired as error:
            isGood, output = False, f"no end within {SECONDS} s: {error.stdout}"
        if not isGood:
            print(f"--- {name}: {case}\n{output[-3000:]}\n---", file=sys.stderr)
        rows.append((name, found, case, "pass" if isGood else "FAIL"))
    return rows


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("aisbf", type=lambda path: pathlib.Path(path).resolve())
    parser.add_argument("bin", type=lambda path: pathlib.Path(path).absolute())
    parser.add_argument("--write", type=pathlib.Path)
    parser.add_argument("--only", default=",".join(PROGRAMS))
    asked = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="clients-") as folder:
        mesh = Mesh(asked.aisbf, folder)
        try:
            for name in asked.only.split(","):
                rows += try_out(name, PROGRAMS[name], mesh, asked.bin, folder)
        finally:
            mesh.down()
    table = ["| program | version | case | result |", "|---|---|---|---|"] + [f"| {' | '.join(row)} |" for row in rows]
    print("\n".join(table))
    if asked.write:
        text = asked.write.read_text()
        before, rest = text.split(MARKS[0], 1)
        behind = rest.split(MARKS[1], 1)[1]
        asked.write.write_text(f"{before}{MARKS[0]}\n\n" + "\n".join(table) + f"\n\n{MARKS[1]}{behind}")
    return any(row[3] == "FAIL" for row in rows)


if __name__ == "__main__":
    sys.exit(main())
