#!/usr/bin/env python3
"""Writes manual pages from what `aisbf --experimental-dump-help` says on standard input: one for the program, and one for
each of its commands (aisbf.1, aisbf-node.1, aisbf-node-run.1, …) into the folder that is given."""

import json
import pathlib
import sys


def escaped(text):
    """Text of one line: roff takes a backslash for an order, a dot or quote in front for a request, a dash for a hyphen."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text[:1] in (".", "'") else text


def paragraph(text):
    lines = []
    for part in (text or "").split("\n"):
        if not part.strip():
            lines.append(".PP")
        elif part.startswith(" ") or "   " in part:
            lines += [".nf", escaped(part), ".fi"]
        else:
            lines += [escaped(part), ".br"]
    return lines


def spelled(name):
    return ("--" if name["kind"] == "long" else "-") + name["name"]


def value(argument):
    return argument.get("valueName") or "value"


def synopsis(argument):
    if argument["kind"] == "positional":
        text = f"\\fI{escaped(value(argument))}\\fR"
    else:
        text = f"\\fB{escaped(spelled(argument['preferredName']))}\\fR"
        if argument["kind"] == "option":
            text += f" \\fI{escaped(value(argument))}\\fR"
    if argument["isRepeating"]:
        text += " ..."
    return f"[{text}]" if argument["isOptional"] else text


def described(argument):
    if argument["kind"] == "positional":
        head = f"\\fI{escaped(value(argument))}\\fR"
    else:
        head = ", ".join(f"\\fB{escaped(spelled(name))}\\fR" for name in argument.get("names", []))
        if argument["kind"] == "option":
            head += f" \\fI{escaped(value(argument))}\\fR"
    text = " ".join(filter(None, [argument.get("abstract"), argument.get("discussion")]))
    default = argument.get("defaultValue")
    if default:
        text += f" (default: {default})"
    allowed = argument.get("allValues")
    if allowed:
        text += f" One of: {', '.join(allowed)}."
    return [".TP", head] + [escaped(line) for line in (text or " ").split("\n")]


def shown(items):
    return [item for item in items or [] if item.get("shouldDisplay", True)]


def page(command, path, version):
    name = "-".join(path)
    arguments = shown(command.get("arguments"))
    commands = [child for child in shown(command.get("subcommands")) if child["commandName"] != "help"]
    lines = [
        f'.TH "{name.upper()}" "1" "" "AISBF Mesh {version}" "AISBF Mesh"',
        ".SH NAME", f"{escaped(name)} \\- {escaped(command.get('abstract') or '')}",
        ".SH SYNOPSIS", f".B {escaped(' '.join(path))}",
    ]
    lines += [synopsis(argument) for argument in arguments]
    if commands:
        lines.append("\\fIcommand\\fR")
    if command.get("discussion"):
        lines += [".SH DESCRIPTION"] + paragraph(command["discussion"])
    if arguments:
        lines.append(".SH OPTIONS")
        for argument in arguments:
            lines += described(argument)
    if commands:
        lines.append(".SH COMMANDS")
        for child in commands:
            lines += [".TP", f"\\fB{escaped('-'.join(path + [child['commandName']]))}\\fR(1)"]
            lines.append(escaped(child.get("abstract") or ""))
    if len(path) > 1:
        lines += [".SH SEE ALSO", f"\\fB{escaped('-'.join(path[:-1]))}\\fR(1)"]
    yield name, "\n".join(lines) + "\n"
    for child in commands:
        yield from page(child, path + [child["commandName"]], version)


def main():
    folder, version = pathlib.Path(sys.argv[1]), sys.argv[2]
    folder.mkdir(parents=True, exist_ok=True)
    command = json.load(sys.stdin)["command"]
    for name, text in page(command, [command["commandName"]], version):
        (folder / f"{name}.1").write_text(text)


main()
