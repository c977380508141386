"""What is done of a scan under way: an interrupted job continues within it, to the bits of an unbroken one."""

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax
import numpy as np

from reddiff_jax._files import replacing
from reddiff_jax._npz import ArrayFileError, open_npz
from reddiff_jax._versions import versions
from reddiff_jax.jobs.outputs import writing

_RECORD = "record.json"


class Parts:
    """A folder with the arrays of a scan's finished slices, and with the state of a volume's run.

    Args:
        out: The output folder.
        name: Name of the scan; the folder is ``.NAME.parts``, and gone once the scan is restored.
        record: What must be equal for the parts to be continued.
    """

    def __init__(self, out: Path, name: str, record: Mapping[str, Any]):
        self.folder = out / f".{name}.parts"
        said = json.dumps({**record, "versions": versions()}, sort_keys=True)
        path = self.folder / _RECORD
        with writing(self.folder):
            if not path.is_file() or path.read_text(encoding="utf-8", errors="replace") != said:
                self.clear()
                self.folder.mkdir(parents=True)
                with replacing(path) as partial:
                    partial.write_text(said, encoding="utf-8")

    def put(self, name: str, tree: Any) -> None:
        """Stores arrays, in the place of those of the name."""
        path = self.folder / f"{name}.npz"
        arrays = {str(number): np.asarray(leaf) for number, leaf in enumerate(jax.tree.leaves(tree))}
        with writing(path), replacing(path) as partial, partial.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]

    def get(self, name: str, like: Any) -> Any:
        """Arrays that were stored, in the structure of ``like``; None if there are none, or others.

        Args:
            name: Their name.
            like: A tree of the shapes and types.
        """
        leaves, structure = jax.tree.flatten(like)
        with suppress(ArrayFileError, OSError, KeyError), open_npz(self.folder / f"{name}.npz") as file:
            found = [file[str(number)] for number in range(len(leaves))]
            kinds = [(leaf.shape, np.dtype(leaf.dtype)) for leaf in leaves]
            if [(array.shape, array.dtype) for array in found] == kinds:
                return jax.tree.unflatten(structure, found)
        return None

    def clear(self) -> None:
        """Removes them."""
        if self.folder.is_symlink() or self.folder.is_file():
            self.folder.unlink()
        elif self.folder.exists():
            shutil.rmtree(self.folder)
