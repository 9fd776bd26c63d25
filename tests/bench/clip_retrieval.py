"""Extraction against clip-retrieval's inference: its own command in an environment of its own (`make bench-peers`).

Both load the same weights into the same open_clip model, look at the same JPEGs in batches of the same size, and must
say the same. Timed by their own logs, from the first image asked for to the last embedding: neither the start of
Python, nor loading, nor the last write is counted. clip-retrieval 2.45.0 with its own pins (open-clip-torch < 3, numpy
< 2, pyarrow < 16), transformers < 5 and our PyTorch; as many loading processes as its default, 4.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from distillkit.engine.decoding import decoded
from distillkit.engine.sight import Sight
from distillkit.recipe import Component
from distillkit.store.reading.reader import FeatureStore
from distillkit.teachers.openclip import Openclip
from tests.bench.extraction import photos, with_weights
from tests.bench.measure import Row, limit, not_installed, of_pairs
from tests.bench.peers import peer, run_peer

_GOAL, _MODEL, _BATCH = 1.5, "ViT-S-32", 64
_NAME = "extraction / clip-retrieval inference, {} at 224 px, {}"


def run(folder: Path, quick: bool) -> list[Row]:
    programs = peer("clip_retrieval")
    if programs is None:
        return [not_installed(_NAME.format(_MODEL, "same pixels"), _GOAL)]
    if quick:
        return [Row(_NAME.format(_MODEL, "same pixels"), f">= {_GOAL:g}", note="left out of quick runs: a minute")]
    return compared(folder, programs, count=512, rounds=3)


def compared(folder: Path, programs: Path, count: int, rounds: int) -> list[Row]:
    """One row for each of our pixel paths, in interleaved rounds."""
    root = photos(folder / "photos", count)
    model = with_weights(folder, _MODEL)
    paths = {"pil": "same pixels", "torchvision": 'pixels = "torchvision"'}
    ours: dict[str, list[float]] = {path: [] for path in paths}
    alone, theirs = _Alone(root, model), []
    limits = []
    for number in range(rounds):
        place = folder / f"round-{number}"
        place.mkdir()
        theirs.append(count / _clip_retrieval(place, programs, root, model))
        limits.append(count / alone.seconds())
        for path in paths:
            ours[path].append(count / _distillkit(place, path, root, model))
            _refuse_other_answers(place, path)
    name = f"extraction, {_MODEL} at 224 px, same pixels / decoding all, then showing all, on all cores"
    return [
        *(_row(_NAME.format(_MODEL, told), ours[path], theirs, _GOAL) for path, told in paths.items()),
        _row(name, ours["pil"], limits, 0.95),
        limit(_row(f"decoding all, then showing all / clip-retrieval inference, {_MODEL}", limits, theirs, 0.0)),
    ]


def _row(name: str, ours: list[float], theirs: list[float], goal: float) -> Row:
    return of_pairs(name, list(zip(ours, theirs, strict=True)), goal=goal, unit="images/s")


class _Alone:
    """The work that both have to do, and nothing else: what the same pixels leave to gain over a peer."""

    def __init__(self, root: Path, model: str):
        self.network = Openclip(model=model, device="cpu")
        self.sight = Sight(Component(kind="folder", root=str(root)), {"clip": self.network.preprocess})
        self.rows = [(path.name, path.name) for path in sorted(root.iterdir())]
        self.ready = torch.randint(256, (_BATCH, 3, *self.network.preprocess.size), dtype=torch.uint8)

    def seconds(self) -> float:
        """Decoding on all cores, then the network on all cores."""
        started = time.perf_counter()
        with decoded(self.sight, self.rows, kind="threads", workers=os.cpu_count() or 1, ahead=2 * _BATCH) as outcomes:
            for _ in outcomes:
                pass
        for _ in range(len(self.rows) // _BATCH):
            self.network.forward(pixels=self.ready, fields=["image"])
        return time.perf_counter() - started


def _clip_retrieval(place: Path, programs: Path, root: Path, model: str) -> float:
    """Seconds in its loop: reading, inference and what it does with the answers, of all batches."""
    knobs = {
        "input_dataset": root,
        "output_folder": place / "theirs",
        "clip_model": f"open_clip:{model}",
        "enable_text": False,
        "batch_size": _BATCH,
    }
    run_peer(programs, ["clip-retrieval", "inference", *(f"--{k}={v}" for k, v in knobs.items())], place / "log")
    (stats,) = (place / "theirs/stats").glob("*.json")
    return json.loads(stats.read_bytes())["total_duration"]


def _distillkit(place: Path, pixels: str, root: Path, model: str) -> float:
    """Seconds of all shards, as the command's own log has them."""
    recipe = place / f"{pixels}.toml"
    recipe.write_text(f"""
name = "ours"
out = "{place}/{pixels}"
teacher = {{ kind = "openclip", model = "{model}", pixels = "{pixels}" }}
[[corpora]]
name = "images"
source = {{ kind = "folder", root = "{root}" }}
fields = ["image"]
batch_size = {_BATCH}
""")
    command = [sys.executable, "-c", "from distillkit.cli import main; main()", "extract-teacher", recipe]
    subprocess.run(command, check=True, capture_output=True)
    lines = (place / pixels / "images/extract.jsonl").read_text().splitlines()
    return sum(json.loads(line)["seconds"] for line in lines)


def _refuse_other_answers(place: Path, pixels: str) -> None:
    """RuntimeError unless both said the same of every image: a cosine of 0.999, of pixels that differ a little 0.99."""
    store = FeatureStore(place / pixels / "images")
    ours = store.read("image", np.arange(len(store))).float()
    theirs = torch.from_numpy(np.load(place / "theirs/img_emb/img_emb_0.npy")).float()
    worst = torch.cosine_similarity(ours, theirs).min().item() if len(ours) == len(theirs) else 0.0
    if worst < (0.999 if pixels == "pil" else 0.99):
        raise RuntimeError(f"{pixels}: {len(ours)} and {len(theirs)} embeddings, worst cosine {worst:.4f}")
