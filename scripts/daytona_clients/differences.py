"""What differs between two versions of a client for the calls that are used, and who has to follow.

The fleet has to where shared/daytona would be refused, or would miss or misread what it reads. sandboxd has to where official clients
of the newer version would not take its answers: a field that is newly required, or of a narrower type. All else is only said.
"""

import collections
import dataclasses
import re

from .generated import Call, Client, Slot
from .used import UsedCall, shape

FLEET, SANDBOXD = "fleet", "sandboxd"
REQUEST, ANSWER = "request", "answer"


@dataclasses.dataclass(frozen=True)
class Difference:
    # added, removed or changed
    kind: str
    what: str
    # Who has to follow: none, or some of FLEET and SANDBOXD.
    breaks: tuple[str, ...] = ()
    # What it is about where several calls share it: a model or an enum, and on which side.
    of: str | None = None


@dataclasses.dataclass
class Compared:
    call: UsedCall
    differences: list[Difference]
    in_neither: bool = False


def compare(used: list[UsedCall], old: dict[str, Client], new: dict[str, Client], read: set[str]) -> list[Compared]:
    return [Comparison(call, old[call.part], new[call.part], read).run() for call in used]


def find(client: Client, method: str, path: str) -> Call | None:
    return next((call for call in client.calls if call.method == method and shape(call.path) == shape(path)), None)


class Comparison:
    """Of one call."""

    def __init__(self, used: UsedCall, old: Client, new: Client, read: set[str]) -> None:
        self.used, self.old, self.new, self.read = used, old, new, read
        self.found: dict[Difference, None] = {}

    def run(self) -> Compared:
        before = find(self.old, self.used.method, self.used.path)
        after = find(self.new, self.used.method, self.used.path)
        if before and after:
            self.parameters(before, after)
            self.sent("body", None, before.body, after.body, None)
            self.within([before.body, after.body], REQUEST)
            self.answers(before.answers, after.answers)
        elif before:
            self.gone(before)
        elif after:
            self.say("added", "the call itself")
        return Compared(self.used, list(self.found), in_neither=not before and not after)

    def say(self, kind: str, what: str, of: str | None = None, *, fleet: bool = False, sandboxd: bool = False) -> None:
        """Of a call that the fleet does not make, nothing concerns it."""
        breaks = [FLEET] if fleet and self.used.ours else []
        self.found[Difference(kind, what, (*breaks, *([SANDBOXD] if sandboxd else [])), of)] = None

    def names(self, name: str | None) -> bool:
        """Whether our client may use it."""
        return name is None or name in self.read

    def gone(self, before: Call) -> None:
        same_name = next((call for call in self.new.calls if call.name == before.name), None)
        if same_name:
            self.say("changed", f"the call is {same_name.method} {same_name.path} now", fleet=True, sandboxd=True)
        else:
            # Official clients do not ask sandboxd for it any more; whoever tests it by them has to know.
            self.say("removed", "the call itself", fleet=True, sandboxd=True)

    def parameters(self, before: Call, after: Call) -> None:
        for kind, name in dict.fromkeys([*before.parameters, *after.parameters]):
            # Those in the path are told apart by their place, which the path's shape has compared.
            if kind == "path":
                continue
            old, new = before.parameters.get((kind, name)), after.parameters.get((kind, name))
            self.sent(f"{kind} parameter {name}", name, old, new, None)
            self.within([old, new], REQUEST)

    def sent(self, what: str, name: str | None, before: Slot | None, after: Slot | None, of: str | None) -> None:
        if before is None and after is not None:
            self.say("added", f"{what}: {after.described()}", of, fleet=after.required)
        elif after is None and before is not None:
            self.say("removed", f"{what}: {before.described()}", of, fleet=self.names(name))
        elif before and after and before != after:
            stricter = after.required and not before.required
            # Whatever the fleet sends as a number is a whole one.
            same_to_us = {before.type, after.type} <= {"integer", "number"} or before.type == after.type
            fleet = stricter or (not same_to_us and self.names(name))
            self.say("changed", f"{what}: {before.described()} -> {after.described()}", of, fleet=fleet)

    def answers(self, before: dict[str, str | None], after: dict[str, str | None]) -> None:
        for status in sorted(before.keys() | after.keys()):
            success = status.startswith("2")
            old, new = before.get(status), after.get(status)
            if status not in after:
                self.say("removed", f"answer {status}", fleet=success, sandboxd=success)
            elif status not in before:
                self.say("added", f"answer {status}: {new or 'nothing'}", fleet=success)
            elif old != new:
                what = f"answer {status}: {old or 'nothing'} -> {new or 'nothing'}"
                self.say("changed", what, fleet=success and old is not None, sandboxd=success and new is not None)
            # Refusals are read leniently, and have the same fields for all calls.
            if success:
                self.within([Slot(text, True) for text in (old, new) if text], ANSWER)

    def within(self, slots: list[Slot | None], side: str) -> None:
        """The models and enums that these types name, and those that their fields name."""
        waiting, seen = [slot for slot in slots if slot], set()
        while waiting:
            for name in re.findall(r"\w+", waiting.pop(0).type):
                if name in seen:
                    continue
                seen.add(name)
                old, new = self.old.models.get(name, {}), self.new.models.get(name, {})
                if old and new:
                    self.model(name, old, new, side)
                if name in self.old.enums and name in self.new.enums:
                    self.enum(name, side)
                waiting += [*old.values(), *new.values()]

    def model(self, model: str, old: dict[str, Slot], new: dict[str, Slot], side: str) -> None:
        for name in dict.fromkeys([*old, *new]):
            if side == REQUEST:
                self.sent(name, name, old.get(name), new.get(name), f"{model} ({side})")
            else:
                self.answered(name, old.get(name), new.get(name), f"{model} ({side})")

    def answered(self, name: str, before: Slot | None, after: Slot | None, of: str) -> None:
        # Official clients take no answer without it.
        needed = after is not None and after.required and not after.nullable
        if before is None and after is not None:
            self.say("added", f"{name}: {after.described()}", of, sandboxd=needed)
        elif after is None and before is not None:
            self.say("removed", f"{name}: {before.described()}", of, fleet=self.names(name))
        elif before and after and before != after:
            types = (before.type, after.type)
            looser = (before.required and not after.required) or (after.nullable and not before.nullable)
            misread = types[0] != types[1] and types != ("number", "integer")
            # They take no 1.0 for an integer.
            refused = types[0] != types[1] and types != ("integer", "number")
            stricter = needed and (not before.required or before.nullable)
            what = f"{name}: {before.described()} -> {after.described()}"
            self.say("changed", what, of, fleet=(looser or misread) and self.names(name), sandboxd=stricter or refused)

    def enum(self, enum: str, side: str) -> None:
        for value in sorted(self.new.enums[enum] - self.old.enums[enum]):
            # Our client takes what it does not know for something that is on its way.
            self.say("added", f"value {value}", f"{enum} ({side})")
        for value in sorted(self.old.enums[enum] - self.new.enums[enum]):
            self.say("removed", f"value {value}", f"{enum} ({side})", fleet=side == REQUEST and self.names(value))


def by_subject(compared: list[Compared]) -> dict[str, tuple[list[Difference], list[UsedCall]]]:
    """Differences by what they are about: a call; then models and enums, with the calls that use them."""
    found: dict[str, dict[tuple[str, str], Difference]] = collections.defaultdict(dict)
    calls: dict[str, dict[UsedCall, None]] = collections.defaultdict(dict)
    for shared in (False, True):
        for one in compared:
            for difference in one.differences:
                if (difference.of is not None) == shared:
                    subject = difference.of or f"{one.call.method} {one.call.path}"
                    calls[subject][one.call] = None
                    same = found[subject].get((difference.kind, difference.what), difference)
                    # The same field may concern the fleet in one call, and not in another.
                    breaks = tuple(who for who in (FLEET, SANDBOXD) if who in (*same.breaks, *difference.breaks))
                    found[subject][difference.kind, difference.what] = dataclasses.replace(difference, breaks=breaks)
    return {subject: (list(differences.values()), list(calls[subject])) for subject, differences in found.items()}
