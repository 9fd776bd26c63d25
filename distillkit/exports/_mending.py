"""What open_clip mends before any tokenizer, as steps of a normalizer of the library `tokenizers`.

open_clip asks ftfy and then html.unescape, twice: https://ftfy.readthedocs.io/en/latest/explain.html. A step replaces
what a pattern finds, and nothing else; so what ftfy tells by a whole text stays with it (DIFFERS). Patterns are read by
Oniguruma and, on the page, by JavaScript, and are such as both know.
"""

from __future__ import annotations

import html
from collections.abc import Iterator
from functools import cache
from html.entities import html5, name2codepoint
from typing import Any

from ftfy.chardata import CONTROL_CHARS, HTML_ENTITIES, LIGATURES, WIDTH_MAP

DIFFERS = (
    "texts that were decoded by a wrong encoding, HTML entities beyond those of HTML 4 (and `&#...;` of letters beyond "
    "these and Latin), and rare forms of entities: quotes without a semicolon, and quotes, capitals and what is "
    "escaped more than twice in a text with a `<`"
)
_C1 = range(0x80, 0xA0)  # read as Windows-1252, as browsers do
_NUMBERED = {*range(0x180), *name2codepoint.values()}
_QUOTES = {"[\u02bc\u2018-\u201b]": "'", "[\u201c-\u201f]": '"'}
_ESCAPES = r"\x1b\[[\p{Nd};]*[a-zA-Z]"
_MARKS = r"[!-/:-@\[-`{-~]"  # those of ASCII
_BETWEEN = 4  # marks and apostrophes, at most, between a letter and the sigma after it


def mending(tokenizers: Any) -> list[Any]:
    """Steps of a normalizer; `tokenizers`: the library."""
    steps = tokenizers.normalizers
    found = [steps.Replace(tokenizers.Regex(pattern), instead) for pattern, instead in _patterns()]
    return [*found, steps.NFC()]


def final_sigma(tokenizers: Any) -> Any:
    """A step before letters are made small: the last sigma of a word becomes another letter, as Python has it."""
    before = "|".join(r"\p{Cased}" + r"\p{Case_Ignorable}" * many for many in range(_BETWEEN + 1))
    pattern = rf"(?<={before})Σ(?!\p{{Case_Ignorable}}*\p{{Cased}})"
    return tokenizers.normalizers.Replace(tokenizers.Regex(pattern), "ς")


def cleaning(tokenizers: Any, how: str) -> list[Any]:
    """Steps behind `mending`: what open_clip makes of a text before another tokenizer than CLIP's. `how`: "whitespace",
    "lower", or as SigLIP's models have it "canonicalize", without capitals and marks.
    """
    replace, regex = tokenizers.normalizers.Replace, tokenizers.Regex
    marks = [replace("_", " "), replace(regex(_MARKS), "")] if how == "canonicalize" else []
    small = [] if how == "whitespace" else [final_sigma(tokenizers), tokenizers.normalizers.Lowercase()]
    return [*marks, *small, replace(regex(r"\s+"), " "), replace(regex("^ | $"), "")]


@cache
def _patterns() -> tuple[tuple[str, str], ...]:
    """What is found, and what it becomes. What is escaped more than once comes first."""
    found: dict[str, list[str]] = {}
    for instead, pattern in _entities():
        found.setdefault(instead, []).append(pattern)
    for number, instead in (LIGATURES | WIDTH_MAP).items():
        found.setdefault(instead, []).append(chr(number))
    for number in _C1:
        if (instead := html.unescape(f"&#{number};")) != chr(number):
            found.setdefault(instead, []).append(chr(number))
    ampersand = "|".join(found.pop("&"))
    removed = "".join(rf"\u{number:04x}" if number > 0xFF else rf"\x{number:02x}" for number in CONTROL_CHARS)
    return (
        (ampersand, "&"),
        *(("|".join(patterns), instead) for instead, patterns in found.items()),
        *_QUOTES.items(),
        (_ESCAPES, ""),
        (f"[{removed}]", ""),
    )


def _entities() -> Iterator[tuple[str, str]]:
    """Letters, and the pattern of all entities of each."""
    names: dict[str, list[str]] = {html5[f"{name};"]: [] for name in name2codepoint}
    names |= {chr(number): [] for number in _NUMBERED}
    for name in sorted(html5, key=lambda name: not name.endswith(";")):
        if html5[name] in names:
            names[html5[name]].append(name + _longer(name))
    for entity, instead in HTML_ENTITIES.items():
        if entity[1:] not in html5 and entity[1:-1].lower() in name2codepoint:
            names.setdefault(instead, []).append(entity[1:])
    for number in sorted(_NUMBERED):
        names.setdefault(html.unescape(f"&#{number};"), []).append(_numbered(number))
    for letter, every in names.items():
        if every:
            yield letter, f"&(?:{'|'.join(every)})" + ("+" if letter == "&" else "")


def _longer(name: str) -> str:
    """What must not follow a name without its semicolon: the rest of a longer one, which is another letter's."""
    if name.endswith(";"):
        return ""
    rest = [other[len(name) :] for other in html5 if other.startswith(name) and other not in (name, f"{name};")]
    return f"(?!{'|'.join(rest)})" if rest else ""


def _numbered(number: int) -> str:
    digits = "".join(f"[{one}{one.upper()}]" if one.isalpha() else one for one in f"{number:x}")
    return f"#0*{number}(?:;|(?![0-9]))|#[xX]0*{digits}(?:;|(?![0-9a-fA-F]))"
