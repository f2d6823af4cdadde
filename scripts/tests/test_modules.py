"""Which files use each other, and where that goes in a circle."""

import pathlib
import tempfile
import unittest

from architecture import modules


def circles_in(files: dict[str, str]) -> list[tuple[str, set[str]]]:
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            file = pathlib.Path(folder, name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        found = modules.circles(modules.uses(modules.read(pathlib.Path(folder, "lib.rs"))))
    return [("::".join(level), circle) for level, circle in found]


LIB = "mod a;\nmod b;\nmod c;\n"


class Circles(unittest.TestCase):
    def test_files_that_use_each_other_are_found_by_every_kind_of_path(self) -> None:
        for there, back in [
            ("use crate::b::B;", "use crate::a::A;"),
            ("use super::b::B;", "use crate::{c::C, a::{self, A}};"),
            ("fn f() { crate::b::g() }", "fn f() -> super::a::A { todo!() }"),
            ("use crate::b::B as Other;", "use crate::a::*;"),
            ("pub(crate) use crate::b::B;", "fn f(x: impl crate::a::T) {}"),
        ]:
            with self.subTest(there=there, back=back):
                self.assertEqual(circles_in({"lib.rs": LIB, "a.rs": there, "b.rs": back, "c.rs": ""}), [("", {"a", "b"})])

    def test_a_circle_may_have_many_steps(self) -> None:
        files = {"lib.rs": LIB, "a.rs": "use crate::b::B;", "b.rs": "use crate::c::C;", "c.rs": "use crate::a::A;"}
        self.assertEqual(circles_in(files), [("", {"a", "b", "c"})])

    def test_one_direction_is_no_circle(self) -> None:
        files = {"lib.rs": LIB, "a.rs": "use crate::b::B;\nuse crate::c::C;", "b.rs": "use crate::c::C;", "c.rs": ""}
        self.assertEqual(circles_in(files), [])

    def test_a_name_that_is_passed_on_leads_to_where_it_is_defined(self) -> None:
        lib = LIB + "pub use b::{B as Known, Deep};\npub use c::*;\n"
        files = {"lib.rs": lib, "a.rs": "use crate::Known;", "b.rs": "use crate::a::A;\npub use crate::c::Deep;", "c.rs": ""}
        self.assertEqual(circles_in(files), [("", {"a", "b"})])
        files = {"lib.rs": lib, "a.rs": "use crate::Deep;", "b.rs": "use crate::a::A;\npub use crate::c::Deep;", "c.rs": ""}
        self.assertEqual(circles_in(files), [])
        files = {"lib.rs": lib, "a.rs": "use crate::Globbed;", "b.rs": "", "c.rs": "use crate::a::A;\npub struct Globbed;"}
        self.assertEqual(circles_in(files), [("", {"a", "c"})])

    def test_modules_above_and_below_each_other_are_no_circle(self) -> None:
        files = {
            "lib.rs": "mod a;\npub fn f() { a::g() }",
            "a.rs": "mod inner;\nuse inner::I;\nuse crate::f;",
            "a/inner.rs": "use super::A;\nuse crate::f;",
        }
        self.assertEqual(circles_in(files), [])

    def test_a_module_is_taken_with_all_below_it(self) -> None:
        files = {"lib.rs": LIB, "a.rs": "mod inner;", "a/inner.rs": "use crate::b::B;", "b.rs": "use crate::a::A;", "c.rs": ""}
        self.assertEqual(circles_in(files), [("", {"a", "b"})])

    def test_modules_of_one_folder_make_a_circle_of_their_own(self) -> None:
        files = {
            "lib.rs": "mod a;",
            "a/mod.rs": "mod x;\nmod y;",
            "a/x.rs": "use super::y::Y;",
            "a/y.rs": "use crate::a::x::X;",
        }
        self.assertEqual(circles_in(files), [("a", {"x", "y"})])

    def test_tests_comments_strings_and_other_crates_make_no_circle(self) -> None:
        files = {
            "lib.rs": LIB,
            "a.rs": "use crate::b::B;",
            "b.rs": '// crate::a::A\n/// [`crate::a::A`]\nfn f() { g("crate::a::A") }\n#[cfg(test)]\nmod tests { use crate::a::A; }',
            "c.rs": "use a::A;\n#[cfg(test)]\nmod tests;",
        }
        self.assertEqual(circles_in(files), [])
