"""Rust text with what is not code taken out, every line and column left where it was.

No parser: comments and strings are blanked, then items are found by their keywords and braces. That is enough for rustfmt's
output, and needs nothing installed.
"""

import re

# Longest first: a raw string may hold quotes, a string may hold `//`, and a lifetime is no character.
NOT_CODE = re.compile(
    r"""
      (?P<line>//[^\n]*)
    | (?P<block>/\*)
    | (?P<raw>\b(?:b|c)?r(?P<hashes>\#*)".*?"(?P=hashes))
    | (?P<text>\b[bc]?"(?:\\.|[^"\\])*"|"(?:\\.|[^"\\])*")
    | (?P<character>b?'(?:\\(?:u\{[^}]*\}|x..|.)|[^'\\\n])')
    """,
    re.VERBOSE | re.DOTALL,
)
TEST_ITEM = re.compile(r"#\[cfg\(test\)\]")
ATTRIBUTE = re.compile(r"\s*#!?\[")
# Items without a body of their own: they end at the first semicolon outside brackets.
WITHOUT_BODY = re.compile(r"\s*(?:pub(?:\([^)]*\))?\s+)?(?:use|const|static|type|extern\s+crate)\b(?!\s+(?:async\s+)?fn\b)")
CLOSING = {"(": ")", "[": "]", "{": "}"}


def code_of(text: str) -> str:
    """The text with comments, strings and characters blanked."""
    kept: list[str] = []
    at = 0
    while found := NOT_CODE.search(text, at):
        end = end_of_block_comment(text, found.start()) if found["block"] else found.end()
        kept.append(text[at : found.start()])
        kept.append(blank(text[found.start() : end]))
        at = end
    kept.append(text[at:])
    return "".join(kept)


def production(text: str) -> str:
    """The text without the items that only tests have, their modules too."""
    code = code_of(text)
    at = 0
    while found := TEST_ITEM.search(code, at):
        at = end_of_item(code, found.end())
        text = text[: found.start()] + blank(text[found.start() : at]) + text[at:]
    return text


def end_of_item(code: str, at: int) -> int:
    """Behind the item that starts at `at`, its further attributes first."""
    while attribute := ATTRIBUTE.match(code, at):
        at = behind_brackets(code, attribute.end() - 1)
    body_ends_it = not WITHOUT_BODY.match(code, at)
    while at < len(code):
        if code[at] == ";":
            return at + 1
        if code[at] in CLOSING:
            body = code[at] == "{"
            at = behind_brackets(code, at)
            if body and body_ends_it:
                return at
        else:
            at += 1
    return at


def behind_brackets(code: str, at: int) -> int:
    """Behind the bracket that closes the one at `at`."""
    depth = 0
    for index in range(at, len(code)):
        if code[index] in CLOSING:
            depth += 1
        elif code[index] in CLOSING.values():
            depth -= 1
            if depth == 0:
                return index + 1
    return len(code)


def end_of_block_comment(text: str, at: int) -> int:
    depth = 0
    for found in re.finditer(r"/\*|\*/", text[at:]):
        depth += 1 if found[0] == "/*" else -1
        if depth == 0:
            return at + found.end()
    return len(text)


def blank(text: str) -> str:
    return re.sub(r"[^\n]", " ", text)
