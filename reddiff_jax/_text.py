"""Text from strangers, made fit to be shown."""

import difflib
from collections.abc import Iterable

MAX_SHOWN = 200  # characters of one foreign word in a message


def shown(text: str, limit: int | None = MAX_SHOWN) -> str:
    """A text on one line that no terminal obeys: what is not printable is escaped, and what is long is cut.

    Control characters move the cursor, others turn the direction of writing, and bytes of a file name that are not
    UTF-8 cannot be encoded at all.

    Args:
        text: Names, values and messages of a file, or of its path.
        limit: The most characters that are shown; all if None.
    """
    # Cut before it is escaped: a stranger's word may be as long as the file.
    cut = text if limit is None or len(text) <= limit else f"{text[:limit]}..."
    return "".join(each if each.isprintable() else _escaped(each) for each in cut)


def meant(name: str, known: Iterable[str]) -> str:
    """What a misspelt name probably means, as the beginning of a remedy: "did you mean denoise? Else ", or ""."""
    near = difflib.get_close_matches(name, list(known), 1)
    return f"did you mean {near[0]}? Else " if near else ""


def unknown_task(name: str, known: Iterable[str]) -> str:
    """What to say of a task that there is not: what it probably means, and the tasks of everyday use."""
    near = difflib.get_close_matches(name, list(known), 1)
    said = f"; did you mean {near[0]}?" if near else "."
    return (
        f"unknown task {shown(name)!r}{said} To fill in: inpaint. To enlarge: bicubic4, sr4. To clean: denoise. To "
        "sharpen: deblur. To colour: colorize. All: reddiff-jax info tasks."
    )


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python spells a byte of a file name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape", errors="backslashreplace").decode("ascii")
