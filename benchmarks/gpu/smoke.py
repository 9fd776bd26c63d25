"""What no test of the GPU covers: whole runs, through the functions that a user calls, on a toy corpus of JPEGs.

What a machine may lack (FAISS) is imported by the check that needs it: the others are worth having without.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from safetensors.torch import load_file

from benchmarks.gpu.results import Part
from distillkit import FeatureStore, evaluate, extract, train
from distillkit.pixels import jpegs
from distillkit.pixels.resample import same_on
from distillkit.pixels.tensors import decode_tensor
from distillkit.recipe import MineRecipe
from distillkit.training.course import Course
from tests.conftest import EXTRACT, TRAIN, draw, make_teacher
from tests.pixels.test_tensors import encoded, picture


class World:
    """A toy corpus, its stores made on the GPU, and runs of a small student."""

    def __init__(self, folder: Path, toy: bool):
        self.folder, self.out, self.toy = folder, folder / "out", toy
        self.images = 40 if toy else 70
        corpus = draw(folder / "corpus", self.images, suffix=".jpg")
        teacher = make_teacher(folder / "teacher")
        recipe = folder / "extract.toml"
        recipe.write_text(EXTRACT.format(out=self.out, corpus=corpus, teacher=teacher))
        extract(recipe, print)
        self.recipe = folder / "train.toml"
        text = TRAIN.format(out=self.out).split("[baseline]")[0] + _EVALS.format(out=self.out)
        self.recipe.write_text(text.replace("epochs = 6", "epochs = 1") if toy else text)

    def run(self, name: str, *knobs: str, cached: bool = True) -> Path:
        """A run that is done, in a folder of its own; not `cached`: its images are decoded for each batch."""
        recipe, small = self.recipe, _SMALL if self.toy else ()
        if not cached:
            recipe = self.folder / "uncached.toml"
            recipe.write_text(self.recipe.read_text().replace("pixel_cache = 32\n", ""))
        return train(recipe, print, overrides=[f'out="{self.folder}/{name}"', *small, *knobs])


# For a pretend GPU, which takes its time over every operation: few of them.
_SMALL = (
    'student={kind="timm_image",model="vit_tiny_patch16_224",image_size=32,embed_dim=32,'
    "options={depth=1,embed_dim=32,num_heads=2}}",
    "data.batch_size=10",
)
_EVALS = """
[[evals]]
kind = "retrieval"
store = "{out}/images"
"""


def run(out: Path, toy: bool) -> None:
    part = Part(out, "smoke")
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), toy)
        for name, check in CHECKS.items():
            if toy and name in _NEEDS_A_GPU:
                continue
            try:
                told = check(world)
                part.add(name, met=not told.startswith("NO"), told=told)
            except Exception as error:  # noqa: BLE001  (what fails is a row, and the next one is tried)
                traceback.print_exc()
                part.add(name, met=False, told=f"{type(error).__name__}: {str(error).splitlines()[0]:.150}")
    part.keep(ended="whole")


def _weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "student.safetensors")


def _same(one: Path, other: Path) -> bool:
    first, second = _weights(one), _weights(other)
    return all(torch.equal(value, second[name]) for name, value in first.items())


def _deterministic(world: World) -> str:
    one, two = (world.run(f"fixed{n}", "optim.deterministic=true") for n in (1, 2))
    return "two runs, one student" if _same(one, two) else "NO, two runs differ"


def _usual(world: World) -> str:
    one, two = (world.run(f"usual{n}") for n in (1, 2))
    return f"without deterministic two runs are {'equal' if _same(one, two) else 'not equal'}, either is allowed"


def _resumed(world: World) -> str:
    knobs, step = ("optim.deterministic=true", "checkpoints.every_steps=1"), Course.step

    def dying(self: Any, batch: Any, *rest: Any) -> None:
        if batch.step == 2:
            raise KeyboardInterrupt
        step(self, batch, *rest)

    Course.step = dying  # type: ignore[method-assign]
    try:
        world.run("resumed", *knobs)
    except KeyboardInterrupt:
        pass
    finally:
        Course.step = step  # type: ignore[method-assign]
    whole = world.run("whole", *knobs)
    return "bit for bit" if _same(world.run("resumed", *knobs), whole) else "NO, it goes on to other bits"


def _half(world: World) -> str:
    finite = all(value.isfinite().all() for value in _weights(world.run("half", 'optim.precision="fp16"')).values())
    return "finite" if finite else "NO, not finite"


def _compiled(way: str) -> Callable[[World], str]:
    def check(world: World) -> str:
        # Clipped: of a whole step that is a program of its own, which reads what the one before it gave.
        knobs = ("optim.deterministic=true", 'optim.precision="fp32"', "optim.clip_grad_norm=1.0")
        plain, fast = world.run(f"plain-{way}", *knobs), world.run(way, *knobs, f'optim.compile="{way}"')
        one, two = _weights(plain), _weights(fast)
        worst = max(float((value.float() - two[name].float()).abs().max()) for name, value in one.items())
        return f"{'' if worst < 1e-2 else 'NO, '}weights differ by {worst:.1g} at most"

    return check


def _rendered(world: World) -> str:
    device = torch.device("cuda:0")
    apart = [name for name in ("pillow", "torchvision") if not same_on(device, name, 224, "bicubic")]
    return f"NO, not the bytes of {apart}" if apart else "the bytes of Pillow and of torchvision"


def _decoded(world: World) -> str:
    data = [encoded(picture(300 + n, 200)) for n in range(8)]
    there = [one.cpu().int() for one in jpegs.decode_on(torch.device("cuda:0"), data)]
    apart = max(
        float((one - decode_tensor(raw).int()).abs().float().mean()) for one, raw in zip(there, data, strict=True)
    )
    return f"{'' if apart < 2 else 'NO, '}{apart:.2f} grey levels from libjpeg"


def _nvjpeg_run(world: World) -> str:
    """Every image of the corpus is a JPEG: who else decodes one of them makes other pixels."""
    asked, decode, decoded = [], jpegs.decode_on, []

    def counting(device: torch.device, data: list[bytes]) -> list[torch.Tensor]:
        asked.append(len(data))
        made = decode(device, data)
        decoded.append(len(made))
        return made

    with mock.patch.object(jpegs, "decode_on", counting):
        world.run("nvjpeg", 'data.augment={resample="nvjpeg"}', cached=False)
    told = f"trained on images of which nvjpeg decoded {sum(decoded)} of {sum(asked)}"
    return told if sum(asked) and asked == decoded else f"NO, {told}"


def _evaluated(world: World) -> str:
    return f"wrote {evaluate(world.run('usual1'), print).name}"


def _torchrun(world: World) -> str:
    run = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "1", "-m", "distillkit", "train-student"]
    command = [*run, str(world.recipe), "--set", f'out="{world.folder}/ranks"', "--set", "optim.epochs=1.0"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    return "trained" if done.returncode == 0 else f"NO, {done.stderr.strip().splitlines()[-1]:.150}"


def _mined(world: World) -> str:
    from distillkit.mine import mine_here

    found = []
    for device in ("cuda", "cpu"):
        recipe = MineRecipe(
            name=f"near_{device}", queries=f"{world.out}/images", corpus=f"{world.out}/texts", k=5, device=device
        )
        found.append(FeatureStore(mine_here(recipe, 1, print)).read("ids", np.arange(world.images)))
    share = float((found[0] == found[1]).float().mean())
    return f"{'' if share > 0.99 else 'NO, '}{share:.1%} of the neighbours are the CPU's"


CHECKS: dict[str, Callable[[World], str]] = {
    "deterministic": _deterministic,
    "usual": _usual,
    "killed and resumed": _resumed,
    "fp16": _half,
    "compiled student": _compiled("student"),
    "compiled step": _compiled("step"),
    "pixels made by the GPU": _rendered,
    "nvjpeg": _decoded,
    "a run with nvjpeg": _nvjpeg_run,
    "evaluate": _evaluated,
    "torchrun with one process": _torchrun,
    "mining": _mined,
}
# Compilers, decoders and processes of their own: a pretend GPU has none, so toy sizes leave these out.
_NEEDS_A_GPU = {"compiled student", "compiled step", "nvjpeg", "a run with nvjpeg", "torchrun with one process"}
