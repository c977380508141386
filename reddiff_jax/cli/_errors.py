"""What a user did wrong becomes one line on stderr and an exit status."""

import gc
import os
import re
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from reddiff_jax._text import shown

FAILED_PARTLY, FAILED, INTERRUPTED, TERMINATED = 1, 2, 130, 143
_CONTINUE = ("restore", "train", "tune")  # commands that go on where they were interrupted
_LESS_MEMORY = {
    "restore": "--batch-size 1 and a lower --tile need less",
    "demo": "a lower --size needs less",
    "train": "a lower --batch or --crop needs less",
    "tune": "a lower --sweep-size or --size needs less",
    "gallery": "a lower --size needs less",
    "measure": "a lower --size needs less",
}
_GARBAGE = (100_000, 50, 100)  # Python's own: 700, 10, 10
_ClickException: Any = typer.BadParameter.__mro__[2]  # typer >= 0.20 brings its own copy of click


class Stopped(Exception):
    """The command was asked to stop, and what was under way is done."""


class UserError(ValueError):
    """Something that the user can put right; the message is one line that says how."""


class OneLineErrors(TyperGroup):
    """A group of commands that never shows a traceback for what a user did wrong.

    With REDDIFF_JAX_TRACEBACK=1 it does.
    """

    def main(self, args: Any = None, *rest: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """Runs a command; returns or exits with its status."""
        args = list(sys.argv[1:] if args is None else args) or ["--help"]
        # JAX's traces are many small objects, none of them garbage: looking for some took an eighth of a start's time.
        gc.set_threshold(*_GARBAGE)
        try:
            _check_not_empty(args)
            status = super().main(args, *rest, standalone_mode=False, **extra)
        except _ClickException as error:
            status = fail(error.format_message(), error.exit_code)
        except (KeyboardInterrupt, typer.Abort):
            status = fail("interrupted.", INTERRUPTED)
        except Exception as error:
            if os.environ.get("REDDIFF_JAX_TRACEBACK"):
                raise
            if lacks_memory(error):
                command = next((word for word in args if not word.startswith("-")), "")
                status = fail(f"not enough memory; {_LESS_MEMORY.get(command, 'close other programs')}.", FAILED)
            elif isinstance(error, ValueError | OSError | ImportError | FloatingPointError):
                status = fail(_one_line(error), FAILED)
            else:
                raise
        status = status if isinstance(status, int) else 0
        if status in (INTERRUPTED, TERMINATED) and standalone_mode and not os.environ.get("PYTEST_CURRENT_TEST"):
            # Threads that are still reading or computing would be waited for.
            sys.stdout.flush()
            os._exit(status)
        if standalone_mode:
            sys.exit(status)
        return status

    def invoke(self, ctx: Any) -> Any:
        """Runs a command; typer would print an empty line of its own for an interruption."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            what = "continues" if ctx.invoked_subcommand in _CONTINUE else "starts again"
            fail(f"interrupted; the same command {what}.", INTERRUPTED)
            raise typer.Exit(INTERRUPTED) from None
        except Stopped:
            fail("stopped; the same command continues.", TERMINATED)
            raise typer.Exit(TERMINATED) from None


def _check_not_empty(args: list[Any]) -> None:
    """Raises UserError for an empty word: as a path it would be the current folder, with all that lies in it."""
    for before, word in zip(["", *map(str, args)], map(str, args), strict=False):
        option = (
            before if not word and before.startswith("--") else word[:-1] if re.fullmatch("--[a-z-]+=", word) else ""
        )
        if option or not word:
            what = f"what follows {option}" if option else "an input name"
            raise UserError(f"{what} is empty; give a name (is a variable of the shell not set?).")


def fail(message: str, status: int) -> int:
    """Prints an error, and returns the status."""
    print(f"error: {printable(' '.join(message.split()))}", file=sys.stderr, flush=True)
    return status


def printable(text: str) -> str:
    """A text of one line or more, of which no terminal obeys what a stranger's file or name says."""
    return "\n".join(shown(line, None) for line in text.split("\n"))


def lacks_memory(error: BaseException) -> bool:
    """Whether memory ran out: Python's, JAX's or a batch's that is known not to fit."""
    # By name and text, so that JAX need not be loaded to tell.
    # TensorStore says RESOURCE_EXHAUSTED of a full disk, too.
    exhausted = "RESOURCE_EXHAUSTED" in str(error) and "No space left" not in str(error)
    named = type(error).__name__ == "OutOfMemoryError" or exhausted
    return named or isinstance(error, MemoryError)


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'a file'}: {error.strerror}."
    return (str(error) or type(error).__name__).strip().splitlines()[0]
