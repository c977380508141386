"""A job's lines in the words of the page: the page's fields for the command line's options, and no folders."""

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

BEST = "what does the task best"
"""The choice of a solver that leaves it to the task."""

FIELDS: Mapping[str, str] = {
    "kernel": "Blur",
    "mask": "the mask",
    "samples": "Samples",
    "seed": "Seed",
    "sigma": "Noise level",
    "solver": "Solver",
    "steps": "Steps",
    "task": "What to do",
}
"""Options of the command line -> the fields of the page that say the same."""

_LEFT_OUT = {
    "sigma": "leave Noise level at auto",
    "solver": f"leave Solver at '{BEST}'",
    "steps": "leave Steps empty",
    "mask": "take the mask away",
    "kernel": "leave Blur empty",
}
GONE = (
    "its files are not there any more (they are kept for an hour, and as long as the page is served); open them again."
)
"""Said where a picture or a mask has been removed meanwhile."""

_PHRASES = (
    (re.compile(r"\s*\(\w+=[\w.]* in Python\)|, \w+=\S+ in Python"), ""),
    (re.compile(r"(?<![\w-])--mask FILE"), "paint over them, or open a mask under 'More'"),
    (re.compile(r"or say what marks it: --hole .*?(?=\.?$|;)"), "or paint the hole here on the page"),
    (re.compile(r"say what marks the hole: --hole .*?(?=\.?$|;)"), "paint the hole here on the page"),
    (re.compile(r"choose one with --page, ([^,;]+), or split the file"), r"split the file, and open one page of \1"),
    (re.compile(r"--kernel FILE \([^)]*\) or "), "say it in Blur: "),
    (re.compile(r"^((?:[^:]+: )?)sigma is "), r"\1Noise level is "),
    (re.compile(r"^((?:[^:]+: )?)kernel '"), r"\1Blur '"),
)
_LEAVE = re.compile(r"([Ll])eave (?:out )?--([a-z][a-z-]*)(?: out)?")
_OPTION = re.compile(r"(?<![\w-])--([a-z][a-z-]*)(?![\w-])(?! \S+ on the command line)")
_MISSING = re.compile(
    r"[^:]*: No such file or directory\.?|\[Errno 2\] No such file or directory.*|.* does not exist; check the name.*"
)
_FOLDERS = re.compile(r"(?<![\w./:)<])/(?:[^\s/:;,'\"]+/)*(?=[\w.-])")


def on_page(text: str, *folders: Path) -> str:
    """A line of a job as the page shows it.

    Args:
        text: What the command line would say.
        folders: Folders whose names have spaces perhaps; of a path without any, all folders are left out anyway.
    """
    text = _MISSING.sub(GONE, _names_only(text, folders))
    for pattern, words in _PHRASES:
        text = pattern.sub(words, text)
    text = _LEAVE.sub(lambda match: _left_out(match[1].isupper(), match[2]) or match[0], text)
    return _OPTION.sub(lambda match: FIELDS.get(match[1], f"the command line's --{match[1]}"), text)


def _names_only(text: str, folders: tuple[Path, ...]) -> str:
    known = {str(folder) for folder in (*folders, Path(tempfile.gettempdir()), Path.home(), Path.cwd())} - {"/"}
    for folder in sorted(known, key=len, reverse=True):
        text = text.replace(f"{folder}/", "/")
    return _FOLDERS.sub("", text)


def _left_out(begins: bool, option: str) -> str:
    words = _LEFT_OUT.get(option, "")
    return words[:1].upper() + words[1:] if begins else words
