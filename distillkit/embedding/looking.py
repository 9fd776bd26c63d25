"""Pictures through an image tower, a batch at a time: decoded by threads, and what cannot be read is named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from distillkit.errors import SourceError
from distillkit.pixels import upright_rgb
from distillkit.system.opening import blame_the_file
from distillkit.system.workers import cores

if TYPE_CHECKING:
    from distillkit.embedding.embedder import ImageTower

Picture = str | Path | Image.Image


@dataclass(frozen=True)
class Seen:
    """Of some pictures: `places` in what was asked, a vector for each, and why the others are `broken`, by place.

    `refused`: those of the broken ones that the system did not let us read, which says nothing of the picture.
    """

    places: list[int]
    vectors: Float[Tensor, "n d"]
    broken: dict[int, str]
    refused: frozenset[int] = frozenset()


def seen(
    tower: ImageTower, pictures: Sequence[Picture], *, batch_size: int = 128, threads: int | None = None
) -> Iterator[Seen]:
    """What the tower says, part by part, in order; a part of broken pictures alone has no vectors."""

    def look(picture: Picture) -> UInt8[Tensor, "3 h w"] | SourceError:
        try:
            if isinstance(picture, Image.Image):
                return tower.look(upright_rgb(picture))
            return tower.look(tower.decode(_file(Path(picture))))
        except SourceError as error:
            return error

    with ThreadPoolExecutor(threads or cores()) as pool:
        for first in range(0, len(pictures), batch_size):
            looks = list(pool.map(look, pictures[first : first + batch_size]))
            whole = {first + at: one for at, one in enumerate(looks) if not isinstance(one, SourceError)}
            errors = {first + at: one for at, one in enumerate(looks) if isinstance(one, SourceError)}
            broken = {at: str(one) for at, one in errors.items()}
            refused = frozenset(at for at, one in errors.items() if _of_the_system(one))
            said = tower.embed(torch.stack(list(whole.values()))).float().cpu() if whole else torch.empty(0, 0)
            yield Seen(list(whole), said, broken, refused)


def _of_the_system(error: BaseException | None) -> bool:
    """Whether an error came from one that has the system's number; what decoders say of a damaged file has none."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return True
        error = error.__cause__ or error.__context__
    return False


def _file(path: Path) -> Path:
    """SourceError for what is no plain file: a pipe or a device can keep its reader for ever."""
    try:
        is_file = path.is_file()
    except (OSError, ValueError) as error:
        blame_the_file(error, path)
        raise SourceError(f"cannot be read ({error})") from error
    if not is_file:
        raise SourceError("no such file" if not path.exists() else "no plain file")
    return path
