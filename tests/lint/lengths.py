#!/usr/bin/env python3
"""Lengths: functions, files, parameter lists.

    tests/lint/lengths.py FILE.c FILE.h ...

A file has fewer than 600 lines; a function (from its name to its closing brace) fewer than 100,
and of all functions 95 % fewer than 60; a function takes at most 5 parameters. Prints file:line
for each breach; exit code 1 if there is one.
"""

import re
import sys
from pathlib import Path
from typing import NamedTuple

FILE_LINES = 600
FUNCTION_LINES = 100
USUAL_LINES = 60
USUAL_SHARE = 0.95
PARAMETERS = 5
# Callbacks whose parameters OpenSSL prescribes.
PRESCRIBED = {"choose_alpn", "on_new", "on_ticket"}

# Comments, string and character literals, and whole preprocessor directives, whose backslash may
# carry them over several lines.
NOISE = re.compile(
    r"""//[^\n]* | /\*.*?\*/ | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*'
      | ^[ \t]*\#(?:/\*.*?\*/|\\.|[^\\\n])*""",
    re.S | re.M | re.X,
)
TOKEN = re.compile(r"[A-Za-z_]\w*|\S")
ATTRIBUTES = {"__attribute__", "_Alignas", "_Atomic", "_Static_assert", "static_assert"}


class Token(NamedTuple):
    text: str
    line: int


class Function(NamedTuple):
    file: str
    name: str
    line: int
    lines: int
    parameters: int
    body: bool


def blank(match: re.Match[str]) -> str:
    """The same number of lines, and a harmless token where a literal stood."""
    text = match[0]
    stand_in = "0" if text[0] in "\"'" else " "
    return stand_in + "\n" * text.count("\n")


def tokens(source: str) -> list[Token]:
    clean = NOISE.sub(blank, source)
    return [
        Token(match[0], number)
        for number, line in enumerate(clean.split("\n"), 1)
        for match in TOKEN.finditer(line)
    ]


def closing(toks: list[Token], start: int, pair: str) -> int:
    """Index of what closes the bracket at `start`."""
    depth = 0
    for i in range(start, len(toks)):
        depth += (toks[i].text == pair[0]) - (toks[i].text == pair[1])
        if depth == 0:
            return i
    return len(toks) - 1


def count_parameters(inside: list[Token]) -> int:
    words = [t.text for t in inside]
    if not words or words == ["void"]:
        return 0
    depth, commas = 0, 0
    for word in words:
        depth += (word in "([{") - (word in ")]}")
        commas += word == "," and depth == 0
    return commas + 1


def declarator(chunk: list[Token]) -> tuple[Token, int] | None:
    """Name and number of parameters, if the tokens since the last `;` or `}` declare a function."""
    if any(t.text in ("typedef", "=") for t in chunk):
        return None
    i = 0
    while i + 1 < len(chunk):
        word, after = chunk[i], chunk[i + 1]
        if after.text == "(":
            end = closing(chunk, i + 1, "()")
            if word.text in ATTRIBUTES:
                i = end
            elif re.match(r"[A-Za-z_]", word.text):
                return word, count_parameters(chunk[i + 2 : end])
            else:
                return None
        i += 1
    return None


def functions(file: str, source: str) -> list[Function]:
    toks = tokens(source)
    found = []
    chunk: list[Token] = []  # since the last declaration, without what stood in braces
    i = 0
    while i < len(toks):
        text = toks[i].text
        end = i
        if text == "(":
            end = closing(toks, i, "()")
            chunk += toks[i : end + 1]
        elif text in ";{":
            if text == "{":
                end = closing(toks, i, "{}")
            named = declarator(chunk)
            if named:
                name, parameters = named
                lines = toks[end].line - name.line + 1
                found.append(Function(file, name.text, name.line, lines, parameters, text == "{"))
            # A type's or an initialiser's brace does not end its declaration.
            if text == ";" or named:
                chunk = []
        else:
            chunk.append(toks[i])
        i = end + 1
    return found


def main(paths: list[str]) -> int:
    found = []
    bodies: list[Function] = []
    for path in paths:
        source = Path(path).read_text()
        lines = source.count("\n")
        if lines >= FILE_LINES:
            found.append(f"{path}:1: {lines} lines; a file has fewer than {FILE_LINES}")
        for f in functions(path, source):
            where = f"{f.file}:{f.line}: {f.name}"
            if f.parameters > PARAMETERS and f.name not in PRESCRIBED:
                found.append(f"{where} takes {f.parameters} parameters; at most {PARAMETERS}")
            if f.body and f.lines >= FUNCTION_LINES:
                found.append(f"{where} has {f.lines} lines; fewer than {FUNCTION_LINES}")
            if f.body:
                bodies.append(f)
    long = [f for f in bodies if f.lines >= USUAL_LINES]
    if len(long) > (1 - USUAL_SHARE) * len(bodies):
        found.append(
            f"{len(long)} of {len(bodies)} functions have {USUAL_LINES} lines or more; "
            f"{1 - USUAL_SHARE:.0%} may:"
        )
        found += [f"  {f.file}:{f.line}: {f.name} has {f.lines}" for f in long]
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
