"""Documents that say what is not so."""

import unittest

from architecture import documents

# The repository's own files are the places: tests run in scripts/.
ROW = "| 1a | holds | {} | {} |"
TESTS = {"a_test_that_is_there": ["tests/it/e2e/leases.rs", "worker/src/lease.rs"]}


class Invariants(unittest.TestCase):
    def mistakes(self, places: str, proof: str) -> list[str]:
        return documents.invariant_mistakes(ROW.format(places, proof), TESTS)

    def test_what_is_there_is_no_mistake(self) -> None:
        for places, proof in [
            ("`architecture/source.py`, all of 1", "`a_test_that_is_there` (rules)"),
            ("`tests/test_documents.py` (`replace_by`)", "`e2e::leases::a_test_that_is_there`"),
            ("", "the compiler"),
            ("", "`make lint`"),
        ]:
            self.assertEqual(self.mistakes(places, proof), [])

    def test_what_is_not_there_is_named(self) -> None:
        for places, proof, mistake in [
            ("`worker/src/gone.rs`", "the compiler", "invariant 1a names worker/src/gone.rs, which is not there"),
            ("`architecture/gone`", "the compiler", "invariant 1a names architecture/gone, which is not there"),
            ("", "`a_test_that_is_not_there`", "invariant 1a names the test a_test_that_is_not_there, which is not there"),
            ("", "`e2e::retries::a_test_that_is_there`", "invariant 1a names the test e2e::retries::a_test_that_is_there, which is not there"),
            ("", "`decide`", "invariant 1a names no test"),
        ]:
            self.assertEqual(self.mistakes(places, proof), [f"docs/invariants.md: {mistake}"])

    def test_a_page_without_the_table_is_a_mistake(self) -> None:
        self.assertEqual(len(documents.invariant_mistakes("# Invariants", TESTS)), 1)


class Threats(unittest.TestCase):
    def mistakes(self, holds: str, proof: str) -> list[str]:
        return documents.threat_mistakes(f"| R1 | tries | {holds} | {proof} |", TESTS)

    def test_a_line_has_its_test_or_says_why_not(self) -> None:
        for holds, proof in [
            ("it holds", "`a_test_that_is_there`"),
            ("it holds", '`tests/test_documents.py`, `e2e::leases::a_test_that_is_there`'),
            ("*accepted*: because", ""),
        ]:
            self.assertEqual(self.mistakes(holds, proof), [])

    def test_what_is_not_there_is_named(self) -> None:
        for proof, mistake in [
            ("", "R1 names no test, and does not say that it is *open* or *accepted*"),
            ("`a_test_that_is_not_there`", "R1 names the test a_test_that_is_not_there, which is not there"),
            ('`gone.test.mjs` "a title"', "R1 names gone.test.mjs a title, which is not there"),
        ]:
            self.assertEqual(self.mistakes("it holds", proof), [f"docs/threat-model.md: {mistake}"])

    def test_a_page_without_tables_is_a_mistake(self) -> None:
        self.assertEqual(len(documents.threat_mistakes("# Threat model", TESTS)), 1)


class Glossary(unittest.TestCase):
    def test_a_word_that_no_name_has_is_a_mistake(self) -> None:
        page = "\n## Glossary\n\n| word | meaning |\n|---|---|\n| dead letter, slot | a |\n| story | b |\n\n## Code map\n| history | |\n"
        code = "struct DeadLetterRecord; fn free_slots() {}"
        self.assertEqual(documents.words_unknown_to(code + " mod story;", page), [])
        self.assertEqual(documents.words_unknown_to(code, page), ["ARCHITECTURE.md: glossary: story is in no name of the code"])
        self.assertEqual(documents.words_unknown_to(code, "# Nothing"), ["ARCHITECTURE.md: glossary: it has no words"])
