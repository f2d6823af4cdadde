"""What is code, and what only tests have."""

import unittest

from architecture import source


class Code(unittest.TestCase):
    def test_comments_strings_and_characters_are_blanked_where_they_stand(self) -> None:
        for text, code in {
            "a // b\nc": "a     \nc",
            "a /* b /* c */ d */ e": "a                   e",
            'f("use crate::x; // y")': "f(" + " " * 20 + ")",
            'f(r#"a "quoted" b"#, 1)': "f(" + " " * 17 + ", 1)",
            "f('\"', 'x', '\\'') 'a: g": "f(   ,    ,     ) 'a: g",
            "fn f<'a>(x: &'a str) {}": "fn f<'a>(x: &'a str) {}",
        }.items():
            self.assertEqual(source.code_of(text), code)

    def test_items_that_only_tests_have_are_left_out(self) -> None:
        for text, left in {
            "a\n#[cfg(test)]\nmod tests;\nb": ["a", "b"],
            "a\n#[cfg(test)]\nmod tests { fn f() { '}'; } }\nb": ["a", "b"],
            "a\n#[cfg(test)]\n#[derive(Debug)]\npub(crate) fn f(x: [u8; 2]) -> X { g(); }\nb": ["a", "b"],
            "a\n#[cfg(test)]\nuse x::{y, z};\nb": ["a", "b"],
            "a\n#[cfg(test)]\nimpl X { fn y() {} }\nb": ["a", "b"],
            '#[cfg(feature = "x")]\nmod a;': ['#[cfg(feature', "=", '"x")]', "mod", "a;"],
        }.items():
            self.assertEqual(source.production(text).split(), left)
