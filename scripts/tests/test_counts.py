"""Takers of the whole of `Parts`, doc comments that say nothing, names that have to be solved, long names of tests."""

import unittest

from architecture import counts


class Parts(unittest.TestCase):
    def test_whatever_gets_all_of_them_is_found(self) -> None:
        for text, found in {
            "async fn f(parts: &Parts) {}": ["1: f"],
            "fn f<'a, T: Fn() -> U>(\n    x: u8,\n    parts: &'a Parts,\n) {}": ["1: f"],
            "fn f(parts: Arc<Parts>) {}": ["1: f"],
            "struct S<'a> {\n    parts: &'a Parts,\n}": ["1: S"],
            "struct S(Parts);": ["1: S"],
            "impl Parts {\n    fn new(x: u8) -> Self {}\n    fn own(&self) {}\n    fn other(&mut self) {}\n}": ["3: own", "4: other"],
            "fn f() -> Parts {}": [],
            "fn f(parts: &OtherParts) {}": [],
            "// fn f(parts: &Parts) {}": [],
            "fn f() { let parts: Parts = g(); }": [],
            "#[cfg(test)]\nfn f(parts: &Parts) {}": [],
        }.items():
            with self.subTest(text):
                self.assertEqual(counts.takers_of_parts(text), found)


class DocComments(unittest.TestCase):
    def test_fewer_than_four_words_are_found(self) -> None:
        for text, found in {
            "/// Which.\na: u8": ["1: Which."],
            "x\n    /// Its own, - `name`.\n    a: u8": ["2: Its own, `name`."],
            "/// Two\n/// lines.\na: u8": ["1: Two lines."],
            "/// A sentence has more.\na: u8": [],
            "/// Two lines\n/// make one.\na: u8": [],
            "// Why.\na: u8": [],
            "//! Which.\n//// Rule.": [],
            "#[cfg(test)]\nmod tests {\n    /// Which.\n    fn f() {}\n}": [],
        }.items():
            with self.subTest(text):
                self.assertEqual(counts.short_doc_comments(text), found)


class Names(unittest.TestCase):
    def test_words_and_whole_names_are_found(self) -> None:
        for text, found in {
            "pub struct DeadLetterStory;": ["1: DeadLetterStory"],
            "async fn tell_story() {}": ["1: tell_story"],
            "const SECRETS_TOLD: u8 = 1;": ["1: SECRETS_TOLD"],
            "mod story;": ["1: story"],
            "fn look() {}\nenum Look {}": ["1: look", "2: Look"],
            "fn look_up() {}\nconst LOOK_EVERY: u8 = 1;": [],
            "struct History;\nfn retold() {}": [],
            "fn f() { story() } // fn story": [],
            "#[cfg(test)]\nfn story() {}": [],
        }.items():
            with self.subTest(text):
                self.assertEqual(counts.literary_names(text, {"story", "told", "tell"}, {"look"}), found)


class TestNames(unittest.TestCase):
    def test_long_ones_are_found_whatever_makes_them_tests(self) -> None:
        most, over = "x" * 60, "x" * 61
        for text, found in {
            f"#[test]\nfn {over}() {{}}": [f"2: {over}"],
            f'#[tokio::test(flavor = "multi_thread")]\n#[expect(unused)]\nasync fn {over}() {{}}': [f"3: {over}"],
            f"#[cfg(test)]\nmod tests {{\n    #[test]\n    fn {over}() {{}}\n}}": [f"4: {over}"],
            f"#[test]\nfn {most}() {{}}": [],
            f"fn {over}() {{}}": [],
            f"// #[test]\n// fn {over}() {{}}": [],
        }.items():
            with self.subTest(text):
                self.assertEqual(counts.long_test_names(text), found)
