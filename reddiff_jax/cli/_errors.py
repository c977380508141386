"""What a user did wrong becomes one line on stderr and an exit status."""

import os
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from reddiff_jax._text import shown

FAILED_PARTLY, FAILED, INTERRUPTED = 1, 2, 130
_ClickException: Any = typer.BadParameter.__mro__[2]  # typer >= 0.20 brings its own copy of click


class UserError(ValueError):
    """Something that the user can put right; the message is one line that says how."""


class OneLineErrors(TyperGroup):
    """A group of commands that never shows a traceback for what a user did wrong.

    With REDDIFF_JAX_TRACEBACK=1 it does.
    """

    def main(self, args: Any = None, *rest: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """Runs a command; returns or exits with its status."""
        args = list(sys.argv[1:] if args is None else args) or ["--help"]
        try:
            status = super().main(args, *rest, standalone_mode=False, **extra)
        except _ClickException as error:
            status = fail(error.format_message(), error.exit_code)
        except (KeyboardInterrupt, typer.Abort):
            status = fail("interrupted; the same command continues.", INTERRUPTED)
        except (ValueError, OSError, ImportError, FloatingPointError) as error:
            if os.environ.get("REDDIFF_JAX_TRACEBACK"):
                raise
            status = fail(_one_line(error), FAILED)
        status = status if isinstance(status, int) else 0
        if status == INTERRUPTED and standalone_mode and not os.environ.get("PYTEST_CURRENT_TEST"):
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
            fail("interrupted; the same command continues.", INTERRUPTED)
            raise typer.Exit(INTERRUPTED) from None


def fail(message: str, status: int) -> int:
    """Prints an error, and returns the status."""
    print(f"error: {shown(' '.join(message.split()), None)}", file=sys.stderr, flush=True)
    return status


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'a file'}: {error.strerror}."
    return (str(error) or type(error).__name__).strip().splitlines()[0]
