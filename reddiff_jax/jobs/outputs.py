"""The output folder, and errors of writing that say what to do."""

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from reddiff_jax._files import check_writable, sha256_of
from reddiff_jax.jobs.errors import JobError, brief

PREVIEWS, REFERENCES = "preview", "reference"


# What is wrong with one file's name, or with what is there already; the others' can be written.
_OF_ONE_FILE = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.EISDIR, errno.ENOTDIR, errno.EEXIST)


class UnwritableError(JobError):
    """One result that cannot be written where it belongs; the others can."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns errors of writing into JobErrors."""
    try:
        yield
    except OSError as error:
        hint = "choose another folder with --out"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = "free some space and repeat the command; what is finished is kept"
        raise JobError(f"cannot write {path} ({error.strerror or brief(error)}); {hint}.") from error


@contextmanager
def writing_result(path: Path) -> Iterator[None]:
    """The same for one picture's results.

    Raises:
        UnwritableError: If only this picture is concerned.
        JobError: If all are, as where a disk is full.
    """
    with writing(path):
        try:
            yield
        except OSError as error:
            if error.errno not in _OF_ONE_FILE:
                raise
            raise UnwritableError(
                f"cannot write {path} ({error.strerror or brief(error)}); rename the picture, or see what is there."
            ) from error


def prepare_folder(out: Path) -> None:
    """Makes an output folder, and checks that it can be written to before any work is done."""
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        check_writable(out)


def digests_written(out: Path, outputs: Sequence[str]) -> dict[str, str]:
    """SHA-256 of each of a picture's results, for the manifest.

    Raises:
        UnwritableError: If one is not there any more.
    """
    try:
        return {output: sha256_of(out / output) for output in outputs}
    except OSError as error:
        raise UnwritableError(
            f"{error.filename or out} is not there as it was written ({error.strerror or brief(error)})."
        ) from error


def not_as_written(out: Path, digests: Mapping[str, str]) -> list[Path]:
    """Results that are there, but are not what was written: cut short, emptied, edited, or no file any more."""
    there = [output for output in digests if os.path.lexists(out / output)]
    return [
        out / output for output in there if not (out / output).is_file() or sha256_of(out / output) != digests[output]
    ]
