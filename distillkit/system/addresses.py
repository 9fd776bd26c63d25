"""Addresses that logs, plans and manifests may keep: without passwords and signatures, which would travel with a store.

http://user:PASSWORD@host/pairs.tsv      https://host/pairs.tsv?X-Amz-Signature=...
"""

from __future__ import annotations

import re
from typing import Any

from distillkit.errors import SecretGiven

_USER = re.compile(r"([a-z][\w+.-]*)://([^/?#\s@]*(?:@[^/?#\s@]*)*)@", re.IGNORECASE)
# Parameters that sign a request, or stand for whoever may make it: of S3, Google, Azure (sig), CloudFront, hubs.
_SIGNED = re.compile(
    r"([?&;#](?:[\w.%-]*[-_])?(?:signature|credential|(?:security|auth|access)?token|secret|password|sig|api[-_]?key"
    r"|(?:aws|google)?access(?:key)?(?:id)?|key-pair-id)=)([^&;#\s'\"<>]+)",
    re.IGNORECASE,
)
_PLACE = 200  # letters of where an address stands
# Where what stands before the @ is no secret: a repository, a container, a user who is asked for a key.
_WEB = ("http", "https")
_NO_SECRET = ("github", "git")


def public(text: str) -> str:
    """The text with "..." in place of every secret of its addresses, for lines that libraries and servers wrote."""
    hidden = _USER.sub(lambda found: f"{found[1]}://...@" if _is_secret(found) else found[0], text)
    return _SIGNED.sub(r"\1...", hidden) if "://" in hidden else hidden


def refuse_secrets(address: str, where: str = "") -> None:
    """SecretGiven for an address with a password or a signature; `where` it was given. The line does not hold it."""
    if "://" in address and (told := public(address)) != address:
        raise SecretGiven(
            f"{where}{': ' if where else ''}{' '.join(told.split()):.200} has a password or a signature in it, which "
            "plans and logs would keep; take it out: credentials come from the environment (AWS_PROFILE, FSSPEC_HTTPS, "
            "...; docs/inputs.md)"
        )


def refuse_secrets_within(content: Any, where: str) -> None:
    """The same of every text in nested tables and lists, however deep they go."""
    todo = [(content, where)]
    while todo:
        value, place = todo.pop()
        if isinstance(value, str):
            refuse_secrets(value, place)
        elif isinstance(value, dict):
            todo += [(one, f"{place}: {key}"[:_PLACE]) for key, one in reversed(value.items())]
        elif isinstance(value, list | tuple):
            todo += [(one, place) for one in reversed(value)]


def _is_secret(found: re.Match[str]) -> bool:
    protocol = found[1].lower()
    return protocol in _WEB or (":" in found[2] and protocol not in _NO_SECRET)
