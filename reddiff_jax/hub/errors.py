"""The error of a hub."""

from collections.abc import Iterator
from contextlib import contextmanager

from reddiff_jax._text import shown


class HubError(ValueError):
    """A prior that could not be got from a hub, or brought there; the message is one line that says why."""

    def __init__(self, message: str):
        super().__init__(shown(message, limit=2000))


class Unreachable(HubError):
    """The hub did not answer at all."""


@contextmanager
def told(name: str, repository: str, endpoint: str, revision: str | None) -> Iterator[None]:
    """Says in one line what a hub's answer means."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise HubError(
            f"{name} is gated: accept its terms at {endpoint}/{repository} and log in with `hf auth login`."
        ) from error
    except errors.RevisionNotFoundError as error:
        raise HubError(f"{name} has no revision {revision}; give one of its branches, tags or commits.") from error
    except errors.RepositoryNotFoundError as error:
        raise HubError(
            f"{name} is not at {endpoint}, or private: check the name, or log in with `hf auth login`."
        ) from error
    except errors.EntryNotFoundError as error:
        raise HubError(f"{name} has not got a file that it lists ({_first_line(error)}); try again.") from error
    except errors.HFValidationError as error:
        raise HubError(f"{name} is no name of a repository: it is hf:owner/name ({_first_line(error)}).") from error
    except errors.HfHubHTTPError as error:
        raise HubError(f"{endpoint} refused {name} ({_first_line(error)}).") from error
    except OSError as error:
        if _is_of_the_network(error):
            raise Unreachable(f"{endpoint} cannot be reached ({_first_line(error)})") from error
        if "Consistency check failed" in str(error):
            raise HubError(f"a file of {name} was cut off on the way; try again.") from error
        raise
    except Exception as error:
        # The library's HTTP client has errors of its own, which are no OSErrors.
        if not _is_of_the_network(error):
            raise
        raise Unreachable(f"{endpoint} cannot be reached ({_first_line(error)})") from error


def _is_of_the_network(error: BaseException) -> bool:
    kinds = [kind.__module__.partition(".")[0] for kind in type(error).__mro__]
    return isinstance(error, ConnectionError | TimeoutError) or bool(
        {"httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3"} & set(kinds)
    )


def _first_line(error: BaseException) -> str:
    return shown((str(error).strip().splitlines() or [type(error).__name__])[0], limit=200).rstrip(".")
