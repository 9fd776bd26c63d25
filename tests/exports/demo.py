"""The demo's students: sent to every target, and opened where there is no distillkit. See test_demo_students.py for the
quick ones, and `python -m tests.exports` for the table of docs/export.md.
"""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import torch

from distillkit.evals._classes import class_embeddings
from distillkit.originals import Originals
from distillkit.parity.questions import Told
from distillkit.parity.reference import Reference, teacher_says
from distillkit.pixels import decode

ALONE = Path(__file__).with_name("alone.py")


def bare_python(folder):
    """A Python that has all that this one has, but for distillkit."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (there,) = folder.glob("lib/python*/site-packages")
    for here in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for path in Path(here).iterdir():
            if not path.name.startswith(("distillkit", "__editable__")) and path.suffix != ".pth":
                (there / path.name).symlink_to(path)
    return folder / "bin/python"


def said_alone(python, folders, pictures, texts, place):
    """What folders ({name: (folder, target)}) say of pictures and texts where there is no distillkit: of each, images
    and, where it has a text tower, texts.
    """
    asked = {"folders": [[str(path), to] for path, to in folders.values()], "pictures": pictures, "texts": texts}
    (place / "asked.json").write_text(json.dumps(asked))
    command = [python, "-I", "-W", "ignore", ALONE, place / "asked.json", place / "said.npz"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = np.load(place / "said.npz")
    return {one: (told[f"{path}:image"], told.get(f"{path}:text")) for one, (path, _) in folders.items()}


def asked_of(store):
    """The pictures that students are measured on, as files, and their captions."""
    images = Originals(store, None)
    root = Path(images.source.root)
    files = [str(root / images.names[row].as_py()) for row in store.ok_rows]
    return files, store.index["text"].take(store.ok_rows).to_pylist()


class Before:
    """What a run's student itself says of the pictures and captions of `store`, and of classes by their prompts.

    `with_teacher`: beside its teacher's text tower.
    """

    def __init__(self, run, store, with_teacher=False):
        self.store, teacher = store, run.facts()["teacher"]
        self.reference = Reference(run.load_student(), teacher_says(teacher) if with_teacher else None)
        pictures, self.captions = asked_of(store)
        self.images = self.reference.images([decode(Path(path)) for path in pictures])
        _, self.first, right = np.unique(self.captions, return_index=True, return_inverse=True)
        self.right = torch.from_numpy(right)  # of each picture, the place of its caption among the different ones

    def answers(self, texts):
        """Vectors of the captions to find, before and after: its text tower's (`texts`: the export's), or its
        teacher's; None where those are none for these images.
        """
        if self.reference.tells is not None and texts is not None:
            return self.reference.texts(self.captions)[self.first], texts[self.first]
        if self.images.shape[1] != self.store.field("text").shape[0]:
            return None
        taught = self.store.read("text", self.store.ok_rows[self.first]).float().numpy()
        return taught, taught

    def scores(self, prompts):
        """Its cosines with every class."""
        tells = self.reference.tells
        vectors = class_embeddings(prompts, None if tells is None else Told(tells))
        return unit(self.images).float() @ vectors.T


def unit(vectors):
    return torch.nn.functional.normalize(torch.from_numpy(np.array(vectors)).double(), dim=-1)


def nearest(images):
    """Of each picture the nearest other one."""
    return (unit(images) @ unit(images).T).fill_diagonal_(-2).argmax(1)
