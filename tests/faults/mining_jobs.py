"""Jobs of mining, and the stages of the demo: an index and neighbours, texts that images look like, prepared tables."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

from distillkit.demo.prepare import _Stages
from distillkit.errors import StoreError
from distillkit.mine import mine_here
from distillkit.recipe import MineRecipe
from distillkit.store.format.manifest import FILE_NAME, Manifest
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.upkeep.verify import verify
from distillkit.system.atomic import atomic_file, atomic_folder, make_folder
from tests.faults.check import Job, Promise, quick
from tests.faults.store_jobs import is_complete
from tests.mining.conftest import clustered, write


class Mined(Job):
    """Neighbours by an index that is built on the way and kept."""

    name = "mining"
    index = "ivf_flat"
    neighbours: list[list[int]] | None = None  # what is found undisturbed

    def undisturbed(self, folder: Path) -> None:
        store = FeatureStore(folder / "images", uses=["neighbours"])
        self.neighbours = store.read("neighbours/ids", np.arange(100)).tolist()

    def prepare(self, folder: Path) -> None:
        world = folder.with_name("world")
        if not (world / "texts" / FILE_NAME).exists():
            write(world / "images", "image", clustered(100, 1), failed=(3,))
            write(world / "texts", "text", clustered(200, 2))
        for name in ("images", "texts"):
            make_folder(folder)
            _copied(world / name, folder / name)
        self.base = Manifest.read(folder / "images").digest

    def run(self, folder: Path, promise: Promise) -> None:
        asked = {"queries": str(folder / "images"), "corpus": str(folder / "texts"), "k": 4, "rows_per_shard": 1024}
        mine_here(MineRecipe(**asked, index=self.index, held_out=20), 1, lambda line: None)
        promise("mined", is_complete("images/added/neighbours"))

    def look(self, folder: Path) -> None:
        assert Manifest.read(folder / "images").digest == self.base and not verify(folder / "images")
        try:
            store = FeatureStore(folder / "images", uses=["neighbours"])
        except StoreError:
            return
        found = store.read("neighbours/ids", np.arange(100)).tolist()
        assert self.neighbours in (None, found), "other neighbours"


class MinedAgain(Mined):
    """Neighbours by an index that an earlier run has kept."""

    name = "mining by a kept index"

    def prepare(self, folder: Path) -> None:
        super().prepare(folder)
        self.run(folder, lambda what, kept: None)
        shutil.rmtree(folder / "images/added")


def _copied(source: Path, target: Path) -> None:

    shutil.copytree(source, target, dirs_exist_ok=True)


class Prepared(Job):
    """Two stages of the demo, in a folder where they were made of other inputs."""

    name = "demo"

    def prepare(self, folder: Path) -> None:
        with quick():
            self._made(folder / "demo", "before")

    def _made(self, root: Path, inputs: str) -> None:
        make_folder(root)
        done = _Stages(root, inputs, lambda line: None)
        done.stage("images", ("images",), lambda: self._images(root / "images", inputs))
        done.stage("tables", ("seen.tsv", "unseen.tsv"), lambda: self._tables(root, inputs))

    def _images(self, folder: Path, inputs: str):
        with atomic_folder(folder) as partial:
            for name in "ab":
                (partial / name).write_text(f"{inputs} {name}")
        return {"images": 2}

    def _tables(self, root: Path, inputs: str):
        for name in ("seen.tsv", "unseen.tsv"):
            with atomic_file(root / name) as file:
                file.write(f"{inputs} {name}".encode())
        return {"tables": 2}

    def run(self, folder: Path, promise: Promise) -> None:
        self._made(folder / "demo", "after")
        promise("prepared", _prepared)

    def look(self, folder: Path) -> None:
        done = folder / "demo/prepared.json"
        finished = json.loads(done.read_bytes()) if done.is_file() else {}
        for stage, names in (("images", ("images/a", "images/b")), ("tables", ("seen.tsv", "unseen.tsv"))):
            if stage in finished:
                for name in names:
                    path = folder / "demo" / name
                    if path.exists():  # what is gone is made again
                        assert path.read_text().split()[0] == finished[stage]["inputs"], f"{name} is of other inputs"


def _prepared(folder: Path) -> None:
    assert len(json.loads((folder / "demo/prepared.json").read_bytes())) == 2


JOBS = (Mined, MinedAgain, Prepared)
