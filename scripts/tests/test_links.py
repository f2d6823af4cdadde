"""Links and paths that lead nowhere."""

import importlib.machinery
import importlib.util
import pathlib
import unittest

loader = importlib.machinery.SourceFileLoader("check_links", str(pathlib.Path(__file__).parent.parent / "check-links"))
check_links = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
loader.exec_module(check_links)

OTHER = "# Other page\n\n## What `run` does, and why\n\n## Twice\n\n## Twice\n\n```sh\n## no heading\n```\n"
THERE = {".", "README.md", "docs", "docs/", "docs/other.md", "shared", "shared/", "shared/job", "shared/job/", "shared/job/src.rs"}


def mistakes(text: str, file: str = "README.md") -> list[str]:
    found = check_links.mistakes_in({file: text, "docs/other.md": OTHER}, THERE | {file})
    return [mistake.removeprefix(f"{file}:1: ") for mistake in found]


class Links(unittest.TestCase):
    def test_what_is_there_is_no_mistake(self) -> None:
        for text in [
            "[a](docs/other.md), [b](docs), [c](shared/job/src.rs), [d](<docs/other.md>), ![e](docs/other.md)",
            "[a](docs/other.md#what-run-does-and-why), [b](docs/other.md#twice), [c](docs/other.md#twice-1)",
            "# Here\n[a](#here)",
            "[a](https://example.com/gone.md#x), [b](mailto:x@example.com)",
            "`[a](gone.md)`\n```\n[a](gone.md)\n```",
            "[a]: docs/other.md",
            "`shared/job/src.rs`, shared/job/, shared/<name>/src.rs, shared/{a,b}.rs, shared/job/*.rs, example.com/shared/gone",
        ]:
            with self.subTest(text):
                self.assertEqual(mistakes(text), [])

    def test_what_is_not_there_is_named(self) -> None:
        for text, mistake in {
            "[a](gone.md)": "gone.md is not there",
            "[a](../README.md)": "../README.md is not there",
            "[a](docs/Other.md)": "docs/Other.md is not there",
            "[a]: gone.md": "gone.md is not there",
            "[a](#gone)": "README.md has no heading #gone",
            "[a](docs/other.md#gone)": "docs/other.md has no heading #gone",
            "[a](docs/other.md#no-heading)": "docs/other.md has no heading #no-heading",
            "[a]()": "a link leads nowhere",
            "`shared/job/gone.rs` (it)": "shared/job/gone.rs is not there",
            "```text\n-> shared/gone.rs\n```": "README.md:2: shared/gone.rs is not there",
        }.items():
            with self.subTest(text):
                self.assertIn(mistake, mistakes(text))

    def test_other_files_are_read_for_the_pages_they_name(self) -> None:
        text = "// see docs/other.md and shared/job/gone.rs"
        self.assertEqual(mistakes(text, "shared/job/src.rs"), [])
        self.assertEqual(mistakes("// see docs/gone.md.", "shared/job/src.rs"), ["docs/gone.md is not there"])
