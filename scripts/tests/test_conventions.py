"""Rules of CONTRIBUTING.md that are broken."""

import pathlib
import unittest

from architecture import conventions

HEAD = "//! Why it exists.\n"


class Conventions(unittest.TestCase):
    def mistakes(self, text: str, file: str = "worker/src/lease.rs", crate: str = "worker", *, for_tests: bool = False) -> list[str]:
        found = conventions.mistakes(crate, pathlib.Path(file), text, for_tests=for_tests)
        return [mistake.removeprefix(f"{file}:") for mistake in found]

    def test_what_keeps_the_rules_is_no_mistake(self) -> None:
        documented = "//! A crate.\n//! More.\n//! More.\n//! More.\n//! More.\n//! More.\n//! More.\n#![warn(missing_docs)]\n"
        for text, file, crate in [
            (HEAD + "fn f(x: &'static str) -> X { x.unwrap_or(y) }", "worker/src/lease.rs", "worker"),
            (HEAD + "#[cfg(test)]\nmod tests { static X: u8 = f().unwrap(); }", "worker/src/lease.rs", "worker"),
            (HEAD + "// anyhow says .unwrap()", "worker/src/lease.rs", "worker"),
            (HEAD + "fn main() -> anyhow::Result<()> {}", "worker/src/main.rs", "worker"),
            (HEAD + "use anyhow::Context;", "operator/src/parts.rs", "operator"),
            (documented, "shared/job/src/lib.rs", "job"),
        ]:
            with self.subTest(text):
                self.assertEqual(self.mistakes(text, file, crate), [])

    def test_each_rule_can_be_broken(self) -> None:
        for text, mistake in {
            "fn f() {}": "1: no `//!` says why the file exists",
            HEAD * 7: "1: `//!` takes 7 lines, and 6 are enough",
            HEAD + "static X: u8 = 1;": "2: a static: two of everything have to fit in one process",
            HEAD + "pub(crate) static X: u8 = 1;": "2: a static: two of everything have to fit in one process",
            HEAD + "fn f() {\n    x.unwrap();\n}": "3: a panic where an error belongs",
            HEAD + "fn f() { x\n.expect(y) }": "3: a panic where an error belongs",
            HEAD + "fn f() -> anyhow::Result<()> {}": "2: anyhow, where callers need an error that says what to do",
        }.items():
            with self.subTest(text):
                self.assertEqual(self.mistakes(text), [mistake])

    def test_a_library_without_documentation_is_a_mistake(self) -> None:
        self.assertEqual(
            self.mistakes(HEAD, "shared/job/src/lib.rs", "job"),
            ["1: `#![warn(missing_docs)]` is missing: the library is for others to use"],
        )

    def test_what_exists_for_tests_may_panic(self) -> None:
        self.assertEqual(self.mistakes(HEAD + "fn f() { x.expect(y) }", for_tests=True), [])

    def test_an_ignored_test_is_a_mistake(self) -> None:
        file = pathlib.Path("x.rs")
        self.assertEqual(conventions.ignored_tests(file, "// no #[ignore]\n#[test]\nfn f() {}"), [])
        self.assertEqual(len(conventions.ignored_tests(file, '#[test]\n#[ignore = "slow"]\nfn f() {}')), 1)
