"""JSON from strangers: one reader with limits, and tables of rules that say which values fields may have.

A table is a ``record`` of rules by field name. What breaks a rule is found before anything is built of it, and the
error names the field, its value and what is needed.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from reddiff_jax._text import shown

MAX_JSON = 2**24  # bytes of a file; ten times the largest that this package writes
MAX_DEPTH = 32  # lists and objects in one another
MAX_TEXT = 10_000  # characters of a name
_SHOWN = 100  # characters of a refused value


class JsonError(ValueError):
    """A text that is no JSON, or whose values break the rules; the message is one line."""


@dataclass(frozen=True)
class Refusal:
    """A value that breaks a rule.

    Args (fields):
        field: Where it is: ``schedule.num_timesteps``, ``settings[3].sigma``.
        value: What came.
        needed: What is needed, in words.
    """

    field: str
    value: Any
    needed: str

    def __str__(self) -> str:
        return f"{shown(self.field)} is {show_value(self.value)} but must be {self.needed}"


@dataclass(frozen=True)
class Rule:
    """Values that a field may have.

    Args (fields):
        allows: Whether a value is allowed; for containers, without a look at what is in them.
        needed: The same in words.
        parts: Of a container that is allowed: the name, value and rule of each thing that is in it.
    """

    allows: Callable[[Any], bool]
    needed: str
    parts: Callable[[Any], Iterator[tuple[str, Any, "Rule"]]] | None = None

    def or_null(self) -> "Rule":
        """The same, or null."""
        parts = self.parts
        return Rule(
            lambda value: value is None or self.allows(value),
            f"{self.needed}, or null",
            None if parts is None else lambda value: iter(()) if value is None else parts(value),
        )

    def refusals(self, value: Any, field: str = "") -> Iterator[Refusal]:
        """What breaks the rule, first things first."""
        if not self.allows(value):
            yield Refusal(field, value, self.needed)
        elif self.parts is not None:
            for name, part, rule in self.parts(value):
                yield from rule.refusals(part, f"{field}{name}".lstrip("."))


class _Missing:
    def __repr__(self) -> str:
        return "missing"


MISSING = _Missing()


def whole(low: int, high: int) -> Rule:
    """A whole number between two others, both included; no boolean."""
    return Rule(lambda value: type(value) is int and low <= value <= high, f"a whole number from {low} to {high}")


def number(low: float, high: float) -> Rule:
    """A finite number between two others, both included."""
    return Rule(
        lambda value: type(value) in (int, float) and low <= value <= high, f"a number from {low:g} to {high:g}"
    )


def text(limit: int = MAX_TEXT) -> Rule:
    """A text of bounded length."""
    return Rule(lambda value: type(value) is str and len(value) <= limit, f"a text of at most {limit} characters")


def hexadecimal(digits: int) -> Rule:
    """A text of lower-case hexadecimal digits."""
    return Rule(
        lambda value: type(value) is str and len(value) == digits and set(value) <= set("0123456789abcdef"),
        f"{digits} hexadecimal digits",
    )


def one_of(*values: Any) -> Rule:
    """One of some values, of the same type: 1 is not true."""
    words = [json.dumps(value) for value in values]
    return Rule(lambda value: any(type(value) is type(each) and value == each for each in values), " or ".join(words))


def anything() -> Rule:
    """Any value: notes for people, which nothing depends on."""
    return Rule(lambda value: value is not MISSING, "given")


def list_of(rule: Rule, low: int, high: int) -> Rule:
    """A list whose length is between two numbers, both included, and whose entries obey a rule."""
    return Rule(
        lambda value: type(value) is list and low <= len(value) <= high,
        f"a list of {low} to {high}, each {rule.needed}",
        lambda value: ((f"[{index}]", entry, rule) for index, entry in enumerate(value)),
    )


def either(first: Rule, second: Rule) -> Rule:
    """What obeys one of two rules."""

    def parts(value: Any) -> Iterator[tuple[str, Any, Rule]]:
        rule = first if first.allows(value) else second
        return iter(()) if rule.parts is None else rule.parts(value)

    needed = f"{first.needed}, or {second.needed}"
    return Rule(lambda value: first.allows(value) or second.allows(value), needed, parts)


def tuple_of(*rules: Rule) -> Rule:
    """A list of as many entries as there are rules, one for each."""
    return Rule(
        lambda value: type(value) is list and len(value) == len(rules),
        f"a list of {len(rules)}",
        lambda value: ((f"[{index}]", entry, rules[index]) for index, entry in enumerate(value)),
    )


def table_of(rule: Rule, high: int = 100_000, names: Rule | None = None) -> Rule:
    """An object of any names, whose values obey a rule, and whose names may obey another."""
    names = text() if names is None else names

    def parts(value: dict[str, Any]) -> Iterator[tuple[str, Any, Rule]]:
        for name, entry in value.items():
            yield f"'s name {shown(name)}", name, names
            yield f".{name}", entry, rule

    return Rule(lambda value: type(value) is dict and len(value) <= high, f"an object of at most {high} entries", parts)


def record(rules: Mapping[str, Rule], *, optional: Mapping[str, Rule] | None = None) -> Rule:
    """An object that has the fields of ``rules`` and may have those of ``optional``; others are not looked at."""
    optional = {} if optional is None else optional

    def parts(value: dict[str, Any]) -> Iterator[tuple[str, Any, Rule]]:
        for name, rule in rules.items():
            yield f".{name}", value.get(name, MISSING), rule
        for name, rule in optional.items():
            if name in value:
                yield f".{name}", value[name], rule

    return Rule(lambda value: type(value) is dict, "an object with fields", parts)


def read_json(content: bytes | str, *, limit: int = MAX_JSON) -> Any:
    """Parses a JSON text.

    Raises:
        JsonError: If it is none, too long or too deep, or names a field twice.
    """
    if len(content) > limit:
        raise JsonError(f"{len(content)} bytes are more than the {limit} that are read")
    try:
        value = json.loads(content, object_pairs_hook=_unique)
    except JsonError:
        raise
    except (ValueError, RecursionError) as error:  # the former is also that of text that is not UTF-8
        raise JsonError(f"it is no JSON: {shown(str(error)) or type(error).__name__}") from error
    if not _is_shallow(value):
        raise JsonError(f"its lists and objects are more than {MAX_DEPTH} deep in one another")
    return value


def check(value: Any, rule: Rule) -> None:
    """Raises JsonError, which names the first field that breaks a rule.

    Args:
        value: What ``read_json`` gave.
        rule: Its rule.
    """
    for refusal in rule.refusals(value):
        raise JsonError(str(refusal) if refusal.field else f"it is {show_value(refusal.value)}, not {refusal.needed}")


def show_value(value: Any) -> str:
    """A JSON value on one line of bounded length."""
    if value is MISSING:
        return "missing"
    if isinstance(value, dict | list) and len(value) > _SHOWN:
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    return shown(json.dumps(value), _SHOWN)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; a field that is named twice would mean another thing to another reader."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise JsonError(f"it names {shown(twice)} twice")
    return fields


def _is_shallow(value: Any) -> bool:
    """Whether no more than MAX_DEPTH lists and objects are in one another."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        containers = [each for each in level if isinstance(each, dict | list)]
        if not containers:
            return True
        level = [entry for each in containers for entry in (each.values() if isinstance(each, dict) else each)]
    return False
