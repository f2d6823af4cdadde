"""Crates that do not keep the rules, and documents that do not say them."""

import unittest

from architecture import rules
from architecture.crates import Workspace

RULES = rules.Rules(
    only={"lapin": {"broker"}, "reqwest": {"daytona", "remote"}},
    never={"job": {"tokio", "lapin", "leaf"}},
    leaves={"leaf"},
    siblings={"leaf": set(), "job": set(), "broker": {"job"}, "daytona": set(), "remote": set(), "worker": {"job", "broker"}},
    tests="fleet-tests",
)
NAMES = {
    "leaf": {"serde"},
    "job": {"serde"},
    "broker": {"leaf", "job", "lapin"},
    "daytona": {"reqwest"},
    "remote": {"leaf", "reqwest"},
    "worker": {"leaf", "job", "broker"},
    "fleet-tests": {"worker", "lapin"},
}
ARCHITECTURE = """
## Code map

| crate | what it is | must not |
|---|---|---|
| `shared/leaf` | a leaf | |
| `shared/job` | | |
| `shared/broker` | | |
| `shared/daytona` | | |
| `shared/remote` | | |
| `worker` | | |
| `tests` | | |
| `snapshot` | no crate: an image | |

### Dependency rules

| crates | may name, of ours |
|---|---|
| `leaf` | nothing; it is a leaf: every crate may name it |
| `job`, `daytona`, `remote` | the leaves only |
| `broker` | the leaves and `job` |
| `worker` | the leaves, `job` and `broker` |

| rule | why |
|---|---|
| only `broker` names lapin | traps |
| only `daytona` and `remote` name reqwest | |
| `job` reaches neither tokio, lapin nor `leaf`, however many steps away | |
| nobody depends on `tests` | |

## One job
"""
SHARED = """
| crate | gives | may name |
|---|---|---|
| `leaf` | `line()` | nothing of ours; every crate may name it |
| `job` | Job | nothing of ours; no I/O |
| `broker` | Broker | `job`; alone names lapin |
| `daytona` | Client | nothing of ours; alone with `remote` names reqwest |
| `remote` | Remote | nothing of ours; alone with `daytona` names reqwest |

| to change | start at |
|---|---|
| `queues` | there |
"""
IN_SHARED = {"leaf", "job", "broker", "daytona", "remote"}


class Crates(unittest.TestCase):
    def broken(self, links: dict[str, set[str]] | None = None, **names: set[str]) -> list[str]:
        named = {crate.replace("_", "-"): libraries for crate, libraries in names.items()}
        return rules.broken(RULES, Workspace(NAMES | named, links or {}, {}))

    def test_crates_that_keep_the_rules_are_no_mistake(self) -> None:
        self.assertEqual(self.broken(), [])

    def test_each_rule_can_be_broken(self) -> None:
        self.assertEqual(self.broken(worker={"lapin"}), ["worker names lapin: only ['broker'] may"])
        self.assertEqual(self.broken(daytona={"job"}), ["daytona depends on job"])
        self.assertEqual(self.broken(worker={"fleet-tests"}), ["worker depends on fleet-tests"])
        self.assertEqual(self.broken(leaf={"job"}), ["leaf depends on job"])
        self.assertEqual(self.broken(links={"job": {"serde"}, "serde": {"tokio"}}), ["job reaches tokio"])

    def test_a_crate_without_a_rule_is_a_mistake(self) -> None:
        self.assertIn("the workspace has the crates", self.broken(other=set())[0])


class Documents(unittest.TestCase):
    def test_documents_that_say_the_rules_are_no_mistake(self) -> None:
        self.assertEqual(rules.unlike_architecture(RULES, ARCHITECTURE), [])
        self.assertEqual(rules.unlike_shared(RULES, SHARED, IN_SHARED), [])

    def test_every_difference_of_architecture_is_a_mistake(self) -> None:
        for said, other in [
            ("| `shared/remote` | | |\n", ""),
            ("| `worker` | | |\n", "| `worker` | | |\n| `viewer` | | |\n"),
            ("| `broker` | the leaves and `job` |\n", ""),
            ("| `broker` | the leaves and `job` |", "| `broker` | the leaves only |"),
            ("| `job`, `daytona`, `remote` | the leaves only |", "| `job`, `daytona`, `remote` | the leaves and `broker` |"),
            (": every crate may name it", ""),
            ("| only `broker` names lapin | traps |\n", ""),
            ("only `daytona` and `remote` name reqwest", "only `daytona` names reqwest"),
            ("neither tokio, lapin nor `leaf`", "neither tokio nor lapin"),
            ("| nobody depends on `tests` | |\n", ""),
        ]:
            with self.subTest(said):
                self.assertIn(said, ARCHITECTURE)
                self.assertNotEqual(rules.unlike_architecture(RULES, ARCHITECTURE.replace(said, other)), [])

    def test_every_difference_of_shared_is_a_mistake(self) -> None:
        for said, other in [
            ("| `job` | Job | nothing of ours; no I/O |\n", ""),
            ("| `job` | Job |", "| `viewer` | Job | nothing of ours |\n| `job` | Job |"),
            ("`job`; alone", "nothing of ours; alone"),
            ("; alone names lapin", ""),
            ("; alone with `remote` names reqwest", "; alone with `broker` names reqwest"),
            ("; every crate may name it", ""),
        ]:
            with self.subTest(said):
                self.assertIn(said, SHARED)
                self.assertNotEqual(rules.unlike_shared(RULES, SHARED.replace(said, other), IN_SHARED), [])
