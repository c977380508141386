"""A prior's folder as a repository of a hub, with a model card."""

import json
from pathlib import Path
from typing import Any

from reddiff_jax import io
from reddiff_jax._text import shown
from reddiff_jax.cards import CARD, WEIGHTS, check_files
from reddiff_jax.hub.errors import HubError, told
from reddiff_jax.hub.fetching import _library, _parse, endpoint, licence_of

README = "README.md"


def push(
    folder: str | Path,
    repository: str,
    *,
    licence: str | None = None,
    private: bool = False,
    message: str = "Upload a prior",
) -> str:
    """Uploads a prior's folder to a hub, with a model card unless the folder has one, README.md.

    ``load_prior("hf:owner/name")`` then loads it anywhere.

    Args:
        folder: A prior's folder; its files are compared with its card first.
        repository: ``owner/name`` or ``hf:owner/name``; it is created if need be.
        licence: Licence of the weights, such as "apache-2.0"; where it is None, what the prior's card says.
        private: Whether a new repository is private.
        message: Of the commit.

    Returns:
        Address of the commit.

    Raises:
        ValueError: If the folder is no prior, no licence is known, or the hub does not take it.
        ImportError: Without the extra ``hub``.
    """
    folder = Path(folder)
    card = io.read_card(folder)
    check_files(folder, card)
    name = repository if repository.startswith("hf:") else f"hf:{repository}"
    owner_and_name, file = _parse(name)
    if file is not None:
        raise HubError(f"{repository} is no name of a repository: it is owner/name.")
    licence = licence or licence_of(folder)
    if licence is None and not (folder / README).is_file():
        raise HubError(f"{folder} states no licence of its weights; say --license, such as apache-2.0.")
    api = _library().HfApi(endpoint=endpoint())
    operation = _library().CommitOperationAdd
    files = [CARD, *sorted(path.relative_to(folder).as_posix() for path in (folder / WEIGHTS).rglob("*"))]
    operations = [operation(name, folder / name) for name in files if (folder / name).is_file()]
    text = model_card(card, owner_and_name, licence)
    readme = folder / README
    operations.append(operation(README, readme if readme.is_file() else text.encode()))
    with told(name, owner_and_name, endpoint(), None):
        api.create_repo(owner_and_name, private=private, exist_ok=True)
        commit = api.create_commit(owner_and_name, operations, commit_message=message)
    return str(commit.commit_url)


def model_card(card: dict[str, Any], repository: str, licence: str | None) -> str:
    """The page of a prior on a hub: what its card says, and how to use it."""
    training = card.get("training")
    told = training if isinstance(training, dict) else {}
    credits = told.get("credits")
    schedule = card["schedule"]
    lines = [
        "---",
        f"license: {json.dumps(licence or 'unknown')}",
        "library_name: reddiff-jax",
        "tags: [diffusion, inverse-problems, jax]",
        "---",
        f"# {shown(str(card.get('name') or repository), 200)}",
        "",
        "A diffusion prior for inverse problems, for [reddiff-jax](https://pypi.org/project/reddiff-jax).",
        "",
        "```python",
        "import reddiff_jax as rd",
        "",
        f'prior = rd.load_prior("hf:{repository}")',
        "```",
        "",
        "| | |",
        "| --- | --- |",
        f"| network | {card['architecture']['type']}, {card['num_parameters']:,} parameters |",
        f"| predicts | {card['prediction']} |",
        f"| schedule | {_cell(schedule.get('name', 'a table'))}, {schedule['num_timesteps']} timesteps |",
        "| pixels | in [-1, 1] |",
        f"| licence | {_cell(licence or 'not stated')} |",
        f"| data | {_cell(told.get('note') or 'not stated')} |",
    ]
    if isinstance(told.get("pictures"), int):
        lines.append(f"| pictures | {told['pictures']:,} |")
    if isinstance(told.get("command"), str) and told["command"]:
        lines.append(f"| trained by | `{_cell(told['command'])}` |")
    source = card.get("source")
    if isinstance(source, dict):
        lines.append(f"| converted from | {_cell(source.get('hub') or source.get('file', ''))} |")
    if isinstance(credits, list) and credits:
        lines += ["", "## Credits", "", *(f"- {_cell(each).removeprefix('- ')}" for each in credits)]
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    return shown(str(value), 500).replace("|", "\\|")
