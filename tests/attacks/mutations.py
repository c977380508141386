"""Documents that were changed by a stranger: any value, or none, at any place of a JSON document; and flipped bits."""

import copy
import json
import math
import random

from hypothesis import strategies as st

# What has tripped readers: other types, ends of ranges, what no float holds, what no terminal should see.
_WORDS = ["", "x" * 20_000, "\x1b[2J", "\ud800", "../../etc/passwd", "nan", "[/x]", "\0"]
_NUMBERS = [0, -1, 2**31, 2**63, 10**400, 1e308, -0.0, math.nan, math.inf, -math.inf, 0.5, True, False]
VALUES = st.recursive(
    st.none() | st.sampled_from(_NUMBERS) | st.sampled_from(_WORDS) | st.integers() | st.floats() | st.text(max_size=5),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=5), each, max_size=3),
    max_leaves=6,
) | st.sampled_from([50, 10_000]).map(lambda depth: _nested(depth))


class _Deep:
    """Lists in lists, deeper than Python writes."""

    def __init__(self, depth: int):
        self.text = "[" * depth + "]" * depth


def _nested(depth: int) -> _Deep:
    return _Deep(depth)


def _places(value, path=()):
    yield path
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _places(part, (*path, key))


@st.composite
def mutated(draw, document) -> object:
    """The document with one to three changes: another value, a field taken away, a field of another name."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        # The outermost fields as often as all others together: most of a document is notes.
        places = [path for path in _places(document) if path]
        if not places:
            break
        shallow = [path for path in places if len(path) == 1]
        *parents, last = draw(st.sampled_from(places) | st.sampled_from(shallow))
        node = document
        for key in parents:
            node = node[key]
        match draw(st.sampled_from(["value", "value", "value", "gone", "renamed"])):
            case "value":
                node[last] = draw(VALUES)
            case "gone":
                del node[last]
            case "renamed" if isinstance(node, dict):
                node[draw(st.sampled_from(_WORDS) | st.text(max_size=5))] = node.pop(last)
    return document


def written(document: object) -> str:
    """A mutated document as JSON text."""
    deep: dict[str, str] = {}

    def name(value: _Deep) -> str:
        key = f"deep {len(deep)}"
        deep[f'"{key}"'] = value.text
        return key

    text = json.dumps(document, default=name)
    for key, value in deep.items():
        text = text.replace(key, value)
    return text


def flipped(content: bytes, rng: random.Random) -> bytes:
    """The bytes with one bit flipped."""
    bit = rng.randrange(8 * len(content))
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def is_one_line(error: BaseException) -> bool:
    """Whether an error can be shown to a person as it is."""
    return bool(str(error)) and str(error).isprintable() and len(str(error)) < 10_000
