"""Snapshots that no test asserts."""

import pathlib
import tempfile
import unittest

from snapshots import orphans

SOURCE = '''
fn two() { insta::assert_snapshot!(a(","), "no name"); assert_json_snapshot!(b) }
fn test_named() { insta::assert_snapshot!("by_name", x(1, 2).text()); }
fn here() { insta::assert_snapshot!(c, @r"d"); }
// fn gone() { insta::assert_snapshot!(e); }
'''


class Orphans(unittest.TestCase):
    def test_what_a_source_asserts_is_named_as_insta_names_it(self) -> None:
        self.assertEqual(orphans.asserted(SOURCE), {"two", "two-2", "by_name"})

    def test_only_what_the_sources_beside_it_assert_belongs_to_a_test(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            (root / "view").mkdir()
            (root / "view/tests.rs").write_text(SOURCE)
            (root / "view/other.rs").write_text("")
            for name, left in {
                "view/snapshots/a__view__tests__two.snap": False,
                "view/snapshots/a__view__tests__two-2.snap": False,
                "view/snapshots/a__view__tests__by_name.snap": False,
                "view/snapshots/a__view__tests__two-3.snap": True,
                "view/snapshots/a__view__tests__here.snap": True,
                "view/snapshots/a__view__tests__gone.snap": True,
                "view/snapshots/a__view__other__two.snap": True,
                "snapshots/a__view__tests__two.snap": True,
            }.items():
                snapshot = pathlib.Path(name)
                self.assertEqual(orphans.orphans([snapshot], root), [snapshot] if left else [], name)
