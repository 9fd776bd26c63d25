"""Files to a repository of a hub, in one commit: what lies there of something else is never mixed with them.

https://huggingface.co/docs/huggingface_hub, or whatever answers at HF_ENDPOINT.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from distillkit.errors import ExportError, MissingExtra
from distillkit.hidden import public
from distillkit.system.wording import count, one_line

# What a repository may hold beside whatever is sent there.
_BESIDE = re.compile(r"(.*/)?(\.gitattributes|\.gitignore|LICEN[CS]E.*|NOTICE.*|CITATION.*)", re.IGNORECASE)
_CARD = "README.md"
_AT_ONCE = (409, 412)
_SHOWN = 3


def send(
    repository: str,
    kind: str,
    files: Mapping[str, Path | bytes],
    marks: Collection[str],
    private: bool,
    overwrite: bool,
) -> str:
    """One commit of `files` to a "model" or "dataset"; returns the repository's address.

    `marks`: by one of these names a repository is known to hold such a thing already. ExportError where other files
    would stay beside ours or would be replaced, unless `overwrite` takes them away; and where it cannot be sent.
    """
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ModuleNotFoundError as error:
        raise MissingExtra("huggingface_hub", "hub") from error
    hub: Any = huggingface_hub
    try:
        parts = [
            hub.CommitOperationAdd(path_in_repo=name, path_or_fileobj=what if isinstance(what, bytes) else str(what))
            for name, what in files.items()
        ]
        api = hub.HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
        made = api.create_repo(repository, repo_type=kind, private=private or None, exist_ok=True)
        there = api.repo_info(repository, repo_type=kind)
        _refuse_to_be_seen(repository, private, there)
        gone = _others(repository, [one.rfilename for one in there.siblings or ()], files, marks, overwrite)
        parts += [hub.CommitOperationDelete(path_in_repo=name) for name in gone]
        api.create_commit(repository, parts, commit_message="From distillkit", repo_type=kind)
    except (hub.errors.HTTPError, hub.errors.HFValidationError, OSError, RuntimeError, ValueError, KeyError) as error:
        raise ExportError(f"{repository}: was not sent ({_told(error):.300}); {_cure(error)}") from error
    return public(str(made))


def _refuse_to_be_seen(repository: str, private: bool, there: Any) -> None:
    if private and not there.private:
        raise ExportError(
            f"{repository}: is there already, and everybody can see it, which --private does not change; make it "
            "private in its settings, or name another repository"
        )


def _others(
    repository: str, there: list[str], files: Mapping[str, Any], marks: Collection[str], overwrite: bool
) -> list[str]:
    """Files there that are none of ours, to be taken away with `overwrite`."""
    left = [name for name in there if name not in files and not _BESIDE.fullmatch(name)]
    strange = not set(marks) & set(there)
    replaced = [name for name in there if name in files and name != _CARD and strange and not _BESIDE.fullmatch(name)]
    known = [*left, *replaced]
    if known and not overwrite:
        named = ", ".join(known[:_SHOWN]) + (", ..." if len(known) > _SHOWN else "")
        raise ExportError(
            f"{repository}: holds {count(len(known), 'file')} of something else ({named}), which would be read "
            "together with what is sent, or be replaced; name another repository, or add --overwrite, which takes them "
            "away (its history keeps them)"
        )
    return left


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _status(error: BaseException) -> int | None:
    """What the hub answered; None where it did not."""
    answers = (getattr(getattr(one, "response", None), "status_code", None) for one in _causes(error))
    return next((code for code in answers if isinstance(code, int)), None)


def _told(error: BaseException) -> str:
    return ": ".join(dict.fromkeys(one_line(one) for one in _causes(error)))


def _cure(error: BaseException) -> str:
    """What helps, by what the hub answered; where it answered nothing, the last that was sent may have arrived."""
    status = _status(error)
    if status in _AT_ONCE:
        return "somebody else may have changed it meanwhile, push again"
    if status is not None and status >= 429:
        return "the hub is busy or out of order, push again later"
    if status is None and not _asked_nothing(error):
        return "look at the connection, and there whether it has arrived; push again"
    return "log in (hf auth login), look at the name, push again"


def _asked_nothing(error: BaseException) -> bool:
    """Whether the hub was never asked: no token, a name that is none, offline by choice."""
    return any(word in type(one).__name__ for one in _causes(error) for word in ("Token", "Validation", "Offline"))
