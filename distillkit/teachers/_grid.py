"""The patch tokens of a vision transformer as a grid, whole or pooled to fewer cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from distillkit.errors import TeacherError
from distillkit.system.wording import count


@dataclass(frozen=True)
class Grid:
    """Patches in rows and columns, `width` numbers each; `has_cls`: a class token comes with them.

    `cells`: how many a side are made of the patches; TeacherError for cells that would not be of whole patches.
    """

    shape: tuple[int, int]
    width: int
    has_cls: bool
    cells: int | Literal["full"] = "full"

    def __post_init__(self) -> None:
        if self.cells == "full":
            return
        rows, columns = self.shape
        if self.cells < 1 or rows % self.cells or columns % self.cells:
            fitting = [str(cells) for cells in range(1, rows + 1) if not (rows % cells or columns % cells)]
            raise TeacherError(
                f"teacher.grid = {self.cells} does not divide its {rows} x {count(columns, 'patch', 'patches')}; "
                f'take one of: {", ".join(fitting)}, or "full"'
            )

    @property
    def fields(self) -> dict[str, list[int]]:
        """Shapes of one row."""
        cells = self.shape[0] * self.shape[1] if self.cells == "full" else self.cells**2
        return ({"cls": [self.width]} if self.has_cls else {}) | {"patches": [cells, self.width]}

    def pool(self, patches: Float[Tensor, "b n e"]) -> Float[Tensor, "b p e"]:
        """The mean over the patches of each cell, cells row by row; all patches as they are where the grid is full."""
        if self.cells == "full":
            return patches
        high, wide = (side // self.cells for side in self.shape)
        blocks = patches.reshape(len(patches), self.cells, high, self.cells, wide, self.width)
        return blocks.mean(dim=(2, 4)).flatten(1, 2)
