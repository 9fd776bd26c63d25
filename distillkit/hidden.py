"""Passwords, keys and signatures in addresses and connection strings, which no line and no record may hold.

http://user:PASSWORD@host/pairs.tsv      https://host/pairs.tsv?X-Amz-Signature=...      AccountName=me;AccountKey=...
"""

from __future__ import annotations

import re

# A path makes one slash of two. Each word is looked at once: texts may be long.
_USER = re.compile(r"(?<![\w+.-])([\w+.-]{2,}+)(:/{1,2})([^/?#\s@]*(?:@[^/?#\s@]*)*)@", re.IGNORECASE)
_ADDRESS = re.compile(r"[\w+.-]{2}:/")
_KEYS = r"(?:access|account|api|client|private|secret|shared[-_ ]?access|storage|subscription)[-_ ]?key"
_WORDS = rf"password|passwd|pwd|passphrase|secret|(?:security|auth|access)?token|jwt|bearer|sas|{_KEYS}"
# Parameters that sign a request, or stand for whoever may make it: of S3, Google, Azure (sig), CloudFront, hubs. The
# short ones are such a parameter only where nothing stands before them: `sort_key` is none.
_SIGNED = re.compile(
    rf"([?&;#](?:(?:[\w.%-]*[-_])?(?:signature|credential|sig|authorization|{_WORDS}"
    r"|(?:aws|google)?access(?:key)?(?:id)?|key-pair-id)|key|auth|code)=)([^&;#\s'\"<>]+)",
    re.IGNORECASE,
)
# What nothing but a connection string calls so: it is one wherever it stands.
_STORAGE = re.compile(
    r"(?<![\w-])((?:account|shared[-_ ]?access)[-_ ]?key|shared[-_ ]?access[-_ ]?signature)(\s*=\s*)([^;\s'\"<>]+)",
    re.IGNORECASE,
)
_PAIR = re.compile(r"[\w .-]++=\s*\S.*", re.DOTALL)
_QUOTED = " '\"\t\n"
_SECRET_PAIR = re.compile(rf"((?:^|[;\s'\"])\s*(?:[\w.-]*[-_.])?(?:{_WORDS}|sig)\s*=\s*)([^;\s]+)", re.IGNORECASE)
# Where what stands before the @ is no secret: a repository, a container, a user who is asked for a key.
_WEB = ("http", "https")
_NO_SECRET = ("github", "git")


def public(text: str) -> str:
    """The text with "..." in place of every secret of its addresses, for lines that libraries and servers wrote."""
    hidden = _USER.sub(lambda found: f"{found[1]}{found[2]}...@" if _is_secret(found) else found[0], text)
    if _ADDRESS.search(hidden):
        hidden = _SIGNED.sub(r"\1...", hidden)
    hidden = _STORAGE.sub(r"\1\2...", hidden)
    return _SECRET_PAIR.sub(r"\1...", hidden) if _is_connection(hidden) else hidden


def _is_connection(text: str) -> bool:
    """Whether a text is pairs of names and values, several of them, and nothing else."""
    by_semicolon = [piece for piece in text.strip(_QUOTED).split(";") if piece.strip()]
    by_space = text.strip(_QUOTED).split()
    return any(len(pieces) > 1 and all(map(_PAIR.fullmatch, pieces)) for pieces in (by_semicolon, by_space))


def _is_secret(found: re.Match[str]) -> bool:
    protocol = found[1].lower()
    return protocol.endswith(_WEB) or (":" in found[3] and protocol not in _NO_SECRET)
