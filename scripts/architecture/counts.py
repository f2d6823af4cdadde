"""What is counted in the files of a crate beside circles: who takes the whole of `Parts`, doc comments that say nothing, names
that a reader has to solve, and tests whose names nobody reads to their end.
"""

import re

from . import source

# Generic parameters may have brackets of their own: `<F: Fn() -> T>`.
GENERICS = r"(?:<(?:->|[^<>]|<(?:->|[^<>]|<[^<>]*>)*>)*>)?"
FUNCTION = re.compile(rf"\bfn\s+(\w+)\s*{GENERICS}\s*\(")
STRUCT = re.compile(r"\bstruct\s+(\w+)[^({;]*[({]")
ITS_OWN = re.compile(r"\bimpl\s+Parts\s*\{")
PARTS = re.compile(r"\bParts\b(?!::)")
SELF = re.compile(r"\(\s*(?:&\s*(?:'\w+\s+)?)?(?:mut\s+)?self\b")
DOC_COMMENT = re.compile(r"(?:^[ \t]*///(?!/).*\n)+", re.MULTILINE)
WORD = re.compile(r"\S*\w\S*")
FEWEST_WORDS = 4
NAME = re.compile(r"\b(?:fn|struct|enum|trait|type|mod|const)\s+(\w+)")
# Whichever attribute makes it one, and whatever other attributes follow.
TEST = re.compile(r"#\[(?:\w+::)*test\b[^\]]*\]\s*(?:#\[[^\]]*\]\s*)*(?:async\s+)?fn\s+(\w+)")
LONGEST_TEST_NAME = 60
# Of `SomeWord`, `some_word`, `SOME_WORD`.
PART = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def takers_of_parts(text: str) -> list[str]:
    """Functions and structs of a file that get the whole of `Parts`, and the functions of `Parts` that have it as `self`."""
    code = source.code_of(source.production(text))
    found = []
    for item in (*FUNCTION.finditer(code), *STRUCT.finditer(code)):
        end = source.behind_brackets(code, item.end() - 1)
        if PARTS.search(code, item.end(), end):
            found.append((item.start(), item[1]))
    for own in ITS_OWN.finditer(code):
        end = source.behind_brackets(code, own.end() - 1)
        for item in FUNCTION.finditer(code, own.end(), end):
            if SELF.match(code, item.end() - 1):
                found.append((item.start(), item[1]))
    return [f"{line_of(code, at)}: {name}" for at, name in sorted(set(found))]


def short_doc_comments(text: str) -> list[str]:
    """Doc comments with fewer words than a sentence has."""
    text = source.production(text)
    found = []
    for comment in DOC_COMMENT.finditer(text):
        words = WORD.findall(comment[0].replace("///", " "))
        if len(words) < FEWEST_WORDS:
            found.append(f"{line_of(text, comment.start())}: {' '.join(words)}")
    return found


def literary_names(text: str, words: set[str], names: set[str]) -> list[str]:
    """Functions, types, constants and modules whose names have one of these words, or are one of these names."""
    code = source.code_of(source.production(text))
    return [
        f"{line_of(code, found.start())}: {found[1]}"
        for found in NAME.finditer(code)
        if found[1].lower() in names or words & {part.lower() for part in PART.findall(found[1])}
    ]


def long_test_names(text: str) -> list[str]:
    """Tests whose names are longer than a line of a list shows."""
    code = source.code_of(text)
    return [
        f"{line_of(code, test.start(1))}: {test[1]}" for test in TEST.finditer(code) if len(test[1]) > LONGEST_TEST_NAME
    ]


def line_of(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1
