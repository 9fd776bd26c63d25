"""Weights of another network: which of their tensors have no place in this one, and what next."""

from __future__ import annotations

import re
from typing import NamedTuple

from distillkit.system.wording import count

_LISTS = re.compile(r"(Missing|Unexpected) key\(s\) in state_dict: ([^\n]+)")
_NAME = re.compile(r'"([^"]+)"')
_PLACES = re.compile(r"pos_embed|rel_pos|position|attention_bias")
_SHAPES = re.compile(r"size mismatch for (\S+): .*? shape torch\.Size\((.*?)\).*? model is torch\.Size\((.*?)\)")


class Misfit(NamedTuple):
    """`homeless`: of the file, with no place in the network. `missing`: of the network, not in the file.

    `shapes`: name, shape in the file, shape in the network.
    """

    homeless: list[str]
    missing: list[str]
    shapes: list[tuple[str, str, str]]

    @property
    def of_another_size(self) -> bool:
        """Whether all that differs is how many places an image has."""
        places = not (self.homeless or self.missing) and all(_PLACES.search(name) for name, _, _ in self.shapes)
        return bool(self.shapes) and places

    @property
    def prefix(self) -> str | None:
        """What the file puts before the name of a tensor that the network misses, if that is all that differs."""
        for one in self.missing:
            for name in self.homeless:
                if name.endswith(f".{one}"):
                    return name.removesuffix(one)
        return None

    def __str__(self) -> str:
        told = []
        if self.homeless:
            told.append(f"{_first(self.homeless)} of the file without a place in the network")
        if self.missing:
            told.append(f"{_first(self.missing)} of the network not in the file")
        if self.shapes:
            name, theirs, ours = self.shapes[0]
            told.append(f"{count(len(self.shapes), 'tensor')} of another shape (first {name}: {theirs} for {ours})")
        return ", ".join(told)


def misfit(error: Exception) -> Misfit | None:
    """What torch told of weights that it could read and that are not the network's; None for any other error."""
    told, lists = str(error), {"Missing": list[str](), "Unexpected": list[str]()}
    for kind, names in _LISTS.findall(told):
        lists[kind] += _NAME.findall(names)
    found = Misfit(lists["Unexpected"], lists["Missing"], _SHAPES.findall(told))
    return found if any(found) else None


def not_its_tensors(error: Exception, library: str, network: str) -> str | None:
    """The end of a refusal: that the file is whole, what of it does not fit, and what next. None as of `misfit`."""
    found = misfit(error)
    if not found:
        return None
    if found.of_another_size and library == "timm":
        return (
            f"its weights are of another image size, to which timm resamples no positions of this network ({found}); "
            "set teacher.image_size to the size that they were trained at"
        )
    names = f"{library}.create_model({network!r}).state_dict()"
    if found.prefix and library == "timm":
        cure = f"set teacher.prefix = {found.prefix!r}, with which its names begin, or name another file"
    elif found.homeless and found.missing:
        cure = f"rename them to {library}'s names, which {names} lists, or name another file"
    else:
        cure = f"name a file of this network, or the network of this file; {names} lists what belongs to this one"
    return f"the file can be read, but its tensors are another network's: {found}; {cure}"


def _first(names: list[str]) -> str:
    return f"{count(len(names), 'tensor')} (first {names[0]})"
