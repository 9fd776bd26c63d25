"""How far a student's parameters lie from its output, in layers: what layer decay lowers learning rates by.

A timm network is counted block by block, as timm groups its parameters; what it has behind its last block counts with
what follows the network, as in BEiT (https://arxiv.org/abs/2106.08254). Other towers are counted by the numbers in the
names of their blocks, each tower by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from timm.models import group_parameters
from torch import nn

from distillkit.errors import RecipeError

_BLOCK = re.compile(r"(?:^|\.)(?:blocks|resblocks|layers|layer\d*|stages)\.\d+\.")
_FRONT = re.compile(r"embed|stem|conv[123]\.|bn[123]\.|ln_pre|cls_token|reg_token|dist_token")
_BEHIND = re.compile(r"pool")  # attention pooling has positions of its own
# Of timm's networks: norms behind the last block, and what may follow them.
_NORM = re.compile(r"(?:fc_)?norm\.")
_LAST = re.compile(r"(?:(?:fc_)?norm|attn_pool|head|head_dist|classifier|fc|last_linear)\.")


def distances(student: nn.Module) -> dict[str, int]:
    """By name of a parameter: 0 for what comes after the last block of its tower, 1 for that block, and so on down to
    what comes before the first one.
    """
    names = [name for name, _ in student.named_parameters()]
    found = dict.fromkeys(names, 0)
    networks = list(_timm_networks(student))
    timms = tuple(place for place, _ in networks)
    for place, network in networks:
        found |= {place + name: distance for name, distance in _by_timm(network).items()}
    rest = [name for name in names if not name.startswith(timms)]
    blocks: dict[str, list[str]] = {}  # of each tower, in the order in which they stand
    for name in rest:
        if (block := _BLOCK.search(name)) and block[0] not in blocks.setdefault(_tower(name[: block.start()]), []):
            blocks[_tower(name[: block.start()])].append(block[0])
    for name in rest:
        of = next((blocks[tower] for tower in (_tower(name), "") if tower in blocks), [])
        if block := _BLOCK.search(name):
            found[name] = len(of) - of.index(block[0])
        elif of and _FRONT.search(name) and not _BEHIND.search(name):
            found[name] = len(of) + 1
    return found


def refuse_uncounted(student: nn.Module, decay: float) -> None:
    """RecipeError where a student is to learn by layers and has none that can be told apart."""
    if decay < 1 and not any(distances(student).values()):
        raise RecipeError(
            f"optim.layer_decay = {decay:g}: the layers of this student ({type(student).__name__}) cannot be told by "
            "the names of its parameters; leave it out, or name its blocks blocks.0, blocks.1, ..."
        )


def _tower(name: str) -> str:
    return name.partition(".")[0]


def _timm_networks(student: nn.Module) -> Iterator[tuple[str, Any]]:
    """Where they stand, and the networks; none within another."""
    within: list[str] = []
    for name, module in student.named_modules():
        place = f"{name}." if name else ""
        if callable(getattr(module, "group_matcher", None)) and not any(place.startswith(one) for one in within):
            within.append(place)
            yield place, module


def _by_timm(network: Any) -> dict[str, int]:
    group: dict[str, int] = group_parameters(network, network.group_matcher(coarse=False), reverse=True)
    top = max(group.values(), default=0)
    behind = top if all(_LAST.match(name) for name, number in group.items() if number == top) else top + 1
    return {
        name: 0 if number == behind - 1 and _NORM.match(name) else behind - number for name, number in group.items()
    }
