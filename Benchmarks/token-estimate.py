"""Measures how well prompts are estimated without a vocabulary, and prints the table of Docs/Reference/policies.md.

The vocabularies come inside packages of PyPI, so nothing is loaded from a hub:

    python3 -m venv .build/tokens
    .build/tokens/bin/pip install tiktoken tokenizers dashscope mistral-common django
    .build/tokens/bin/pip install --no-deps litellm
    swift build -c release --product mesh-bench
    .build/tokens/bin/python Benchmarks/token-estimate.py .build/release/mesh-bench

Each text is cut into prompts of 2,000 characters (700 where a character is a word); a line is one kind of text, a column
one vocabulary: the median of the error, the median of its size, and the one in a hundred that is most too low.
"""

import glob
import json
import os
import pydoc_data.topics
import re
import statistics
import subprocess
import sys
import sysconfig

import tiktoken
from tiktoken.load import load_tiktoken_bpe

SITE = sysconfig.get_paths()["purelib"]
HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
STEM = f"{SITE}/litellm/litellm_core_utils/tokenizers/"
SHORT = {"Chinese", "Chinese, traditional", "Japanese", "Korean"}


def messages(language):
    """The translations of Django's own texts."""
    found = []
    for path in sorted(glob.glob(f"{SITE}/django/**/locale/{language}/LC_MESSAGES/*.po", recursive=True)):
        text = open(path, encoding="utf8").read()
        for match in re.finditer(r'^msgstr(?:\[\d\])? ((?:".*"\n)+)', text, re.M):
            line = "".join(re.findall(r'"(.*)"\n', match.group(1))).replace("\\n", "\n").replace('\\"', '"')
            if line and "Project-Id" not in line:
                found.append(line)
    return ("" if language in ("zh_Hans", "zh_Hant", "ja") else " ").join(found)


def files(pattern):
    paths = sorted(glob.glob(pattern, recursive=True))[:200]
    return "\n".join(open(path, encoding="utf8", errors="ignore").read() for path in paths)[:600_000]


def compact(pattern):
    found = []
    for path in sorted(glob.glob(pattern, recursive=True)):
        if os.path.getsize(path) < 300_000:
            try:
                found.append(json.dumps(json.load(open(path)), separators=(",", ":"), ensure_ascii=False))
            except ValueError:
                pass
    return "\n".join(found)[:400_000]


def texts():
    topics = pydoc_data.topics.topics
    yield "English prose", "\n".join(topics[name] for name in sorted(topics))
    yield "English, Markdown", files(f"{HERE}/Docs/**/*.md")
    yield "Swift", files(f"{HERE}/Sources/Mesh*/**/*.swift")
    yield "Python", files(os.path.dirname(os.__file__) + "/*.py")
    yield "JSON, indented", files(f"{SITE}/**/*.json")[:400_000]
    yield "JSON, compact", compact(f"{SITE}/**/*.json")
    for name, language in [
        ("Chinese", "zh_Hans"), ("Chinese, traditional", "zh_Hant"), ("Japanese", "ja"), ("Korean", "ko"),
        ("Russian", "ru"), ("German", "de"), ("French", "fr"), ("Polish", "pl"), ("Turkish", "tr"),
        ("Vietnamese", "vi"), ("Arabic", "ar"), ("Hebrew", "he"), ("Greek", "el"), ("Thai", "th"), ("Hindi", "hi"),
    ]:
        yield name, messages(language)


def vocabularies():
    words = r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"""
    newer = "|".join([
        r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?""",
        r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?""",
        r"""\p{N}{1,3}""", r""" ?[^\s\p{L}\p{N}]+[\r\n/]*""", r"""\s*[\r\n]+""", r"""\s+(?!\S)""", r"""\s+""",
    ])
    single = r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""

    def ranks(name, path, pattern):
        made = tiktoken.Encoding(
            name, pat_str=pattern, mergeable_ranks=load_tiktoken_bpe(path), special_tokens={})
        return lambda text: len(made.encode_ordinary(text))

    from mistral_common.tokens.tokenizers.tekken import Tekkenizer
    from tokenizers import Tokenizer
    deepseek = Tokenizer.from_file(STEM + "deepseek_tokenizer.json")
    tekken = Tekkenizer.from_file(f"{SITE}/mistral_common/data/tekken_240911.json")
    return {
        "o200k": ranks("o200k", STEM + "fb374d419588a4632f3f557e76b4b70aebbca790", newer),
        "cl100k": ranks("cl100k", STEM + "9b5ad71b2ce5302211f9c61530b329a4922fc6a4", words),
        "Qwen": ranks("qwen", f"{SITE}/dashscope/resources/qwen.tiktoken", single),
        "DeepSeek": lambda text: len(deepseek.encode(text, add_special_tokens=False).ids),
        "Mistral": lambda text: len(tekken.encode(text, bos=False, eos=False)),
    }


def prompts(name, text):
    size = 700 if name in SHORT else 2_000
    return [text[start:start + size] for start in range(0, len(text) - size + 1, size)][:150]


def estimates(program, cut):
    lines = "".join(json.dumps(text, ensure_ascii=False) + "\n" for text in cut)
    done = subprocess.run([program, "tokens"], input=lines.encode(), stdout=subprocess.PIPE, check=True)
    return [int(line) for line in done.stdout.split()]


def main():
    counts = vocabularies()
    print("| text | prompts | " + " | ".join(counts) + " |")
    print("|---|---|" + "---|" * len(counts))
    for name, text in texts():
        cut = prompts(name, text)
        guessed = estimates(sys.argv[1], cut)
        cells = []
        for count in counts.values():
            errors = sorted(100 * guess / count(text) - 100 for guess, text in zip(guessed, cut))
            middle, size = statistics.median(errors), statistics.median(map(abs, errors))
            cells.append(f"{middle:+.0f} / {size:.0f} / {errors[len(errors) // 100]:+.0f}")
        print(f"| {name} | {len(cut)} | " + " | ".join(cells) + " |", flush=True)


main()
