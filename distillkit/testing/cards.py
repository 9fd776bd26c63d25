"""A corpus of numbered cards in memory, and a teacher who says of each what a formula says: milliseconds a store.

A card is an image of one colour, which is its number, and perhaps a text. What is said is a whole number below 2048, so
it is the same in float16, in a batch of any size, on any machine.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from PIL import Image

from distillkit.errors import SourceError
from distillkit.types import Features, Sample

WIDTH = 32
_KIND = "distillkit.testing.cards"


class Card(NamedTuple):
    """A sample; `text` says the number again, where there is one."""

    number: int
    has_text: bool

    @property
    def text(self) -> str | None:
        return f"{self.number}" if self.has_text else None


def key_of(number: int) -> str:
    return f"card {number:04d}"


class Box:
    """Cards in the order of their corpus, and the numbers of those whose image cannot be read at the moment."""

    def __init__(self) -> None:
        self.cards: list[Card] = []
        self.damaged: set[int] = set()


boxes: dict[str, Box] = {}


class Cards:
    """A source: the box of that name among `boxes`."""

    kind, root = f"{_KIND}:Cards", None

    def __init__(self, *, box: str):
        self._box = box

    def __iter__(self) -> Iterator[Sample]:
        for card in boxes[self._box].cards:
            yield Sample(key_of(card.number), str(card.number), card.text, card.number)

    def read(self, location: str) -> bytes:
        """SourceError for a card that is damaged."""
        if int(location) in boxes[self._box].damaged:
            raise SourceError(f"card {location}: torn")
        return _drawn(int(location))


@lru_cache(4096)
def _drawn(number: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (2, 2), (number % 256, number // 256, 0)).save(file, "png")
    return file.getvalue()


class Teller:
    """A teacher: see `said`."""

    kind, fields, scale = f"{_KIND}:Teller", {"image": [WIDTH], "text": [WIDTH]}, None
    dtypes: ClassVar[dict[str, str]] = {}

    def __init__(self, *, accent: int = 1):
        self.accent = accent

    def preprocess(self, image: Image.Image) -> torch.Tensor:
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)

    def tokenize(self, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.tensor([[int(text)] for text in texts]), torch.ones(len(texts), dtype=torch.int64)

    def forward(
        self, pixels: torch.Tensor | None = None, tokens: torch.Tensor | None = None, fields: Any = None
    ) -> Features:
        if tokens is not None:
            return Features(text=torch.from_numpy(said(tokens[:, 0].numpy(), "text", self.accent)))
        assert pixels is not None
        colours = pixels[:, :, 0, 0].round().long()
        return Features(
            image=torch.from_numpy(said((colours[:, 0] + 256 * colours[:, 1]).numpy(), "image", self.accent))
        )

    def fingerprint(self) -> dict[str, Any]:
        """What it is called and made of, as every teacher tells it."""
        return {
            "kind": self.kind,
            "model": f"teller with accent {self.accent}",
            "weights_sha256": hashlib.sha256(str(self.accent).encode()).hexdigest(),
            "tensors": 0,
            "preprocess": {},
            "activation": "none",
            "precision": "fp32",
        }


def said(numbers: np.ndarray, field: str, accent: int) -> np.ndarray:
    """What a teacher says of cards: float32 [n, 32], whole numbers from 1 to 2047, never all alike."""
    columns = np.arange(1, WIDTH + 1) * (7 if field == "text" else 5)
    return ((np.asarray(numbers)[:, None] * columns + 97 * accent) % 2047 + 1).astype(np.float32)
