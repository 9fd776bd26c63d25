"""A teacher of one multiplication and a corpus of small squares: real extractions that take milliseconds."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from PIL import Image
from torch import nn

from distillkit.types import Features

WIDTH = 32


class Colour:
    """The mean colour of an image, and the first bytes of a text, `strength` times, in 32 numbers."""

    fields: ClassVar = {"image": [WIDTH], "text": [WIDTH]}
    scale = None

    def __init__(self, *, strength: float = 1.0):
        self.strength = strength

    def preprocess(self, image):
        return torch.from_numpy(np.asarray(image, np.float32) / 255).permute(2, 0, 1)

    def tokenize(self, texts):
        known = [list(text.encode()[:8]) for text in texts]
        lengths = torch.tensor([len(one) for one in known])
        return torch.tensor([one + [0] * (8 - len(one)) for one in known]), lengths

    def forward(self, pixels=None, tokens=None, fields=None):
        if pixels is not None:
            # Not the sum of the colours, which is the same of all squares.
            return Features(image=self._spread(pixels.mean((2, 3)) * torch.tensor([1.0, 2.0, 4.0])))
        return Features(text=self._spread(tokens.float().sum(1, keepdim=True)))

    def _spread(self, numbers):
        return self.strength * numbers.sum(1, keepdim=True) * torch.arange(1, WIDTH + 1)

    def fingerprint(self):
        return {
            "kind": "tests.faults.world:Colour",
            "model": f"mean colour times {self.strength}",
            "weights_sha256": hashlib.sha256(str(self.strength).encode()).hexdigest(),
            "tensors": 0,
            "preprocess": {},
            "activation": "none",
            "precision": "fp32",
        }


class Wide(Colour):
    """It says something of four patches as well, and reads no text beyond eight bytes."""

    kind = "tests.faults.world:Wide"
    fields: ClassVar = {**Colour.fields, "patches": [4, WIDTH]}

    def forward(self, pixels=None, tokens=None, fields=None):
        said = super().forward(pixels, tokens, fields)
        if said.image is not None:
            return replace(said, patches=said.image[:, None] * torch.arange(1, 5)[:, None])
        return said

    def cut(self, texts, lengths=None):
        """How many of these texts are longer than what is read of them."""
        return sum(len(text.encode()) > 8 for text in texts)

    def fingerprint(self):
        return {**super().fingerprint(), "kind": self.kind}


def square(number: int, path: Path) -> None:
    Image.new("RGB", (4, 4), (number % 256, 255 - number % 256, 7)).save(path)


def squares(folder: Path, count: int) -> Path:
    """`count` squares and a table of them."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows = ["title\tfilepath"]
    for number in range(count):
        square(number, folder / f"images/{number:03d}.png")
        rows.append(f"{number} of them\timages/{number:03d}.png")
    (folder / "pairs.tsv").write_text("\n".join(rows) + "\n")
    return folder


_EXTRACT = """
name = "squares"
out = "{out}"
decode_threads = 1
{teachers}
[[corpora]]
name = "images"
source = {{ {source} }}
fields = {fields}
rows_per_shard = {rows}
{more}
"""
_TEACHER = '[[teachers]]\nname = "{name}"\nkind = "tests.faults.world:{kind}"\n'


def recipe(out: Path, corpus: Path, strengths: dict[str, float], fields: list[str]) -> str:
    """Several teachers by name and strength."""
    teachers = "".join(
        f"{_TEACHER.format(name=name, kind='Colour')}strength = {strength}\n" for name, strength in strengths.items()
    )
    return _recipe(out, f'kind = "csv", file = "{corpus}/pairs.tsv"', fields, teachers)


def recipe_of(
    out: Path, source: str, fields: list[str], more: str = "", *, rows: int = 64, kind: str = "Colour"
) -> str:
    """One teacher, called "one", and a source by its kind and knobs; `more` lines are of the corpus."""
    return _recipe(out, source, fields, _TEACHER.format(name="one", kind=kind), more, rows)


def _recipe(out: Path, source: str, fields: list[str], teachers: str, more: str = "", rows: int = 64) -> str:
    return _EXTRACT.format(out=out, source=source, fields=[*fields], teachers=teachers, more=more, rows=rows)


class Linear(nn.Module):
    """A student of one layer over all pixels."""

    def __init__(self, *, image_size: int = 4):
        super().__init__()
        self.image_size, self.widths = image_size, {"image": WIDTH}
        self.layer = nn.Linear(3 * image_size**2, WIDTH)

    def embed(self, pixels):
        return self.layer(pixels.flatten(1) / 255)

    def forward(self, batch):
        return Features(image=self.embed(batch.pixels))


class Apart(nn.Module):
    """The mean distance to the teacher, as a loss."""

    needs = ("student.image", "teacher.image")

    def __init__(self, widths, *, name: str | None = None, weight: float = 1.0):
        super().__init__()
        self.name, self.weight = name, weight

    def forward(self, batch, student):
        return (student.image - batch.teacher.image).norm(dim=1).mean()


class Near:
    """Minus the mean distance to the teacher, as an evaluation."""

    def __init__(self, *, store: str, name: str | None = None):
        self.store, self.name = store, name or "near"

    def run(self, encode, open_store):
        store = open_store(self.store)
        theirs = store.read("image", store.ok_rows).float()
        return {"near": -float((encode(store) - theirs).norm(dim=1).mean())}


TRAIN = """
name = "squares"
out = "{folder}/deep/runs/toy"
data = {{ images = "{images}", batch_size = 16, pixel_cache = 4, augment = {{ scale = [1.0, 1.0], flip = 0.0 }} }}
student = {{ kind = "tests.faults.world:Linear" }}
losses = [{{ kind = "tests.faults.world:Apart" }}]
optim = {{ epochs = 2, lr = 5e-3, warmup_epochs = 0.0 }}
checkpoints = {{ every_steps = 2, keep = 2 }}
validation = {{ eval = {{ kind = "tests.faults.world:Near", store = "{images}" }}, best = "near", every_steps = 2 }}
log = {{ every_steps = 1 }}
evals = [{{ kind = "tests.faults.world:Near", store = "{images}", name = "{named}" }}]
"""
