"""Programs that know of tensors alone: a file for each tower, with preprocessor_config.json and tokenizer.json beside.

Pixels and tokens are made here as those two files say, and as the card's lines make them; what comes out is raw.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from distillkit.exports._batches import in_batches
from distillkit.exports._described import Described, Pictures
from distillkit.exports._pictures import LINES, pixels_of, read_preprocessor
from distillkit.exports._tokens import read_tokens

# From "image" or "text" to a function of pixels or rows of tokens.
Load = Callable[[str], Callable[[np.ndarray], Any]]


class OpenedPrograms:
    """A folder of such files. `at_once`: how many questions they take."""

    def __init__(self, folder: Path, load: Load, at_once: int):
        self._folder, self._load, self._at_once = folder, load, at_once

    def images(self, pictures: Pictures) -> Float[np.ndarray, "n d"]:
        ask, config = self._load("image"), read_preprocessor(self._folder)
        return in_batches(pictures, lambda part: ask(pixels_of(part, config)), self._at_once)

    def texts(self, texts: list[str]) -> Float[np.ndarray, "n d"]:
        ask = self._load("text")
        return in_batches(texts, lambda part: ask(read_tokens(self._folder, part)), self._at_once)


def lines_of(student: Described, begin: str, image: str, text: str) -> str:
    """Python for the card. `begin`: its imports; `image`, `text`: what a tower says of `picture`, of `tokens`."""
    parts = [begin, LINES if student.image else "import numpy as np\n"]
    parts += ["from tokenizers import Tokenizer\n"] if student.text else []
    parts += [f'\npicture = pixels(opened("picture.png"))\n{image}'] if student.image else []
    if student.text:
        read = 'np.array([Tokenizer.from_file("tokenizer.json").encode("a photo of a cat").ids])'
        parts.append(f"\ntokens = {read}\n{text}")
    return "".join(parts)
