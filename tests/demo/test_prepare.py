"""The folder as a whole, in its smallest size: every stage for real, on a handful of images."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from distillkit.demo import images, manifest
from distillkit.demo import prepare as stages
from distillkit.demo.concepts import Corpus, Phrases
from distillkit.demo.teacher_config import config_for
from distillkit.errors import SourceError

for ingredient in manifest.ingredients().values():
    pytest.importorskip(ingredient["module"])

SMALL = {"images": 40, "unseen_concepts": 8, "validation_concepts": 3, "synsets": 30}
PARTS = ("seen", "validation", "unseen")

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
        yield stages.prepare(quick=True, say=said.append, narrow=True), said


def state(folder):
    return {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in folder.rglob("*") if path.name != ".lock"}


def rows(folder, table):
    return [line.split("\t") for line in (folder / table).read_text().splitlines()]


def titles(folder, table):
    return {title for title, *_ in rows(folder, table)[1:]}


@pytest.mark.parametrize(("hand", "suffix"), [("images", ".tsv"), ("restyled", "_restyled.tsv")])
def test_the_tables_name_images_that_are_there(prepared, hand, suffix):
    folder, _ = prepared
    tables = {part: rows(folder, f"{part}{suffix}") for part in PARTS}
    assert {tuple(table[0]) for table in tables.values()} == {("title", "filepath", "group", "subgroup")}
    paths = [path for table in tables.values() for _, path, *_ in table[1:]]
    twins = {f"{hand}/{key}.png" for key in images.twins(folder, stages._corpus(True, lambda line: None), hand)}
    assert sorted({*paths} | twins) == sorted(f"{hand}/{path.name}" for path in (folder / hand).iterdir())
    assert len(paths) == len({*paths}) and not {*paths} & twins
    from distillkit.pixels import decode

    image = decode(folder / paths[0])
    assert image.size == (224, 224)
    assert image.getpixel((0, 0)) == (255, 255, 255)


def test_each_picture_has_a_mask_of_what_is_figure(prepared):
    folder, _ = prepared
    pictures = sorted(path.relative_to(folder) for path in (folder / "images").iterdir())
    assert pictures == sorted(path.relative_to(folder / "masks") for path in (folder / "masks").rglob("*.png"))
    shares = []
    for path in pictures:
        with Image.open(folder / "masks" / path) as mask, Image.open(folder / path) as picture:
            figure = np.asarray(mask)
            drawn = np.asarray(picture.convert("L").resize(mask.size))
        assert figure.shape == (64, 64) and set(np.unique(figure)) == {0, 1}
        assert (drawn[figure == 0] > 200).mean() > 0.8  # ground is the white that it was drawn on
        shares.append(figure.mean())
    assert 0.05 < np.mean(shares) < 0.9


def test_the_two_hands_drew_the_same_and_not_alike(prepared):
    folder, _ = prepared
    assert {path.name for path in (folder / "images").iterdir()} == {p.name for p in (folder / "restyled").iterdir()}
    assert all(
        path.read_bytes() != (folder / "restyled" / path.name).read_bytes() for path in (folder / "images").iterdir()
    )


def test_labels_are_lines_of_the_lists_of_groups(prepared):
    folder, _ = prepared
    known = [(folder / name).read_text().splitlines() for name in ("groups.txt", "subgroups.txt")]
    for _, _, *classes in rows(folder, "seen.tsv")[1:]:
        assert all(0 <= int(number) < len(names) for number, names in zip(classes, known, strict=True) if number)
    assert "Flags" in known[0] and "country-flag" in known[1]


def test_seen_names_are_described_in_their_order_without_naming_a_held_out_concept(prepared):
    folder, _ = prepared
    names, said = ((folder / f"seen_{kind}.txt").read_text().splitlines() for kind in ("names", "described"))
    assert len(names) == len(said) and all(line.startswith(name) for name, line in zip(names, said, strict=True))
    assert names != said
    held_out = Phrases(name for part in PARTS[1:] for name in (folder / f"{part}_names.txt").read_text().splitlines())
    assert not [line for line in said if held_out.within(line)]


def test_held_out_names_are_the_titles_of_their_tables_and_nothing_else(prepared):
    folder, _ = prepared
    names = {part: (folder / f"{part}_names.txt").read_text().splitlines() for part in PARTS}
    assert [len(names[part]) for part in PARTS[1:]] == [SMALL["validation_concepts"], SMALL["unseen_concepts"]]
    assert names["seen"] == sorted(names["seen"])
    for part in PARTS:
        assert titles(folder, f"{part}.tsv") | titles(folder, f"{part}_restyled.tsv") <= set(names[part])
    assert titles(folder, "seen.tsv") == titles(folder, "seen_restyled.tsv") == set(names["seen"])
    assert len({name for listed in names.values() for name in listed}) == sum(map(len, names.values()))


def test_no_key_of_a_held_out_concept_is_among_those_to_learn_from(prepared):
    """By key, in either hand: the code points of an emoji are the same in both."""
    folder, _ = prepared
    points = {
        part: {
            path.split("/")[1]
            for suffix in ("", "_restyled")
            for _, path, *_ in rows(folder, f"{part}{suffix}.tsv")[1:]
        }
        for part in PARTS
    }
    assert not points["seen"] & (points["validation"] | points["unseen"])
    assert not points["validation"] & points["unseen"]


def test_no_picture_of_a_held_out_concept_is_among_those_to_learn_from(prepared):
    """By pixels: two flags may be one drawing, and two names."""
    folder, _ = prepared
    for suffix in ("", "_restyled"):
        pictures = {
            part: {(folder / path).read_bytes() for _, path, *_ in rows(folder, f"{part}{suffix}.tsv")[1:]}
            for part in PARTS
        }
        assert not pictures["seen"] & (pictures["validation"] | pictures["unseen"])
        assert not pictures["validation"] & pictures["unseen"]


def test_what_is_drawn_like_something_before_it_stands_in_no_table(tmp_path):
    drawn = {
        "norway": 1,
        "cook": 2,
        "cook-dark": 3,
        "chad": 4,
        "svalbard": 1,
        "man-cook": 2,
        "man-cook-dark": 5,
        "like-chad": 4,
    }
    (tmp_path / "images").mkdir()
    for key, colour in drawn.items():
        Image.new("RGB", (4, 4), (colour, 0, 0)).save(tmp_path / f"images/{key}.png")
    corpus = Corpus(
        {"Norway": ["norway"], "cook": ["cook", "cook-dark"]},
        {"Chad": ["chad"]},
        {"Svalbard": ["svalbard"], "man cook": ["man-cook", "man-cook-dark"], "other": ["like-chad"]},
    )
    assert images.twins(tmp_path, corpus, "images") == {"svalbard", "man-cook", "like-chad"}


def test_tables_of_before_twins_were_left_out_are_made_anew_and_nothing_else(prepared):
    folder, _ = prepared
    record = json.loads((folder / "prepared.json").read_text())
    record["tables"]["inputs"] = record["images"]["inputs"]
    (folder / "prepared.json").write_text(json.dumps(record))
    before, said = (folder / "teacher").stat().st_mtime_ns, []
    stages.prepare(quick=True, say=said.append, narrow=True)
    begun = [line for line in said if " -> " in line]
    assert len(begun) == 1 and "tables -> " in begun[0] and (folder / "teacher").stat().st_mtime_ns == before


def begun(said):
    return [line.split(" -> ")[0].removeprefix("demo: ") for line in said if " -> " in line]


def some_picture(folder, hand="images"):
    return sorted((folder / hand).iterdir())[3]


@pytest.mark.parametrize("how", ["gone", "empty", "cut"])
@pytest.mark.parametrize("what", ["images", "masks", "texts", "teacher"])
def test_a_file_that_is_gone_or_of_another_size_is_told_and_made_again(prepared, how, what):
    folder, _ = prepared
    path = {
        "images": some_picture(folder),
        "masks": some_picture(folder, "masks/images"),
        "texts": folder / "texts.txt",
        "teacher": folder / "teacher/open_clip_model.safetensors",
    }[what]
    whole, record, said = path.read_bytes(), (folder / "prepared.json").read_bytes(), []
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(whole[: len(whole) // 2] if how == "cut" else b"")
    stages.prepare(quick=True, say=said.append, narrow=True)
    why = "is gone" if how == "gone" else "is of another size"
    assert f"demo: {what}: made again, as {path.relative_to(folder)} {why}" in said and begun(said) == [what]
    assert path.read_bytes() == whole and (folder / "prepared.json").read_bytes() == record


@pytest.mark.parametrize("lost", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"texts": {"inputs": 1}}'])
def test_a_record_that_is_damaged_or_anothers_is_told_and_what_it_was_of_made_again(prepared, monkeypatch, lost):
    folder, _ = prepared
    record, made = (folder / "prepared.json").read_bytes(), []
    monkeypatch.setattr(stages._Stages, "stage", lambda self, name, *_, **__: made.append((name, self._finished)))
    (folder / "prepared.json").write_bytes(lost)
    said = []
    try:
        stages.prepare(quick=True, say=said.append)
    finally:
        (folder / "prepared.json").write_bytes(record)
    what = "texts" if b"texts" in lost else "all"
    assert f"demo: {folder / 'prepared.json'}: damaged, or another program's; made again: {what}" in said
    assert made[0][0] == "images" and not any(finished for _, finished in made)


@pytest.mark.parametrize("other", [7, {"inputs": 1}, {"inputs": "", "made": {"sentences": "7"}}, {"inputs": ""}])
def test_a_stage_that_the_record_tells_badly_is_made_again_and_no_other(prepared, other):
    folder, _ = prepared
    record = json.loads((folder / "prepared.json").read_bytes())
    (folder / "prepared.json").write_text(json.dumps(record | {"texts": other}))
    said = []
    stages.prepare(quick=True, say=said.append)
    assert begun(said) == ["texts"] and json.loads((folder / "prepared.json").read_bytes()) == record


def test_a_record_of_an_older_version_names_no_files_and_stands(prepared):
    folder, _ = prepared
    record = json.loads((folder / "prepared.json").read_bytes())
    older = {name: {key: one[key] for key in ("inputs", "made")} for name, one in record.items()}
    (folder / "prepared.json").write_text(json.dumps(older))
    said = []
    stages.prepare(quick=True, say=said.append, narrow=True)
    assert begun(said) == [] and sum("nothing to do" in line for line in said) == 8
    (folder / "prepared.json").write_text(json.dumps(record, indent=2, sort_keys=True) + "\n")


@pytest.mark.parametrize("how", [b"", b"{", None])
def test_a_teacher_whose_configuration_is_damaged_is_mended(prepared, how):
    folder, _ = prepared
    path = folder / "teacher/open_clip_config.json"
    whole = path.read_bytes()
    path.unlink() if how is None else path.write_bytes(how)
    said = []
    stages.prepare(quick=True, say=said.append)
    assert path.read_bytes() == whole and begun(said) == (["teacher"] if how is None else [])


def test_the_projections_learn_from_seen_concepts_alone(prepared, monkeypatch, tmp_path):
    """Features of all held-out images and names are made nonsense: both teachers come out as they were, bit for bit."""
    from safetensors.torch import load_file, save_file

    folder, _ = prepared
    seen, concepts = len(rows(folder, "seen.tsv")) - 1, len(titles(folder, "seen.tsv"))
    features = load_file(folder / stages.FEATURES)
    for hand in ("images", "restyled"):
        features[hand][seen:] = 7.0
    features["texts"][:, concepts:] = -7.0
    save_file(features, tmp_path / "spoilt.safetensors")
    corpus = stages._corpus(True, lambda line: None)
    assert (len(corpus.seen), sum(map(len, corpus.seen.values()))) == (concepts, seen)
    from distillkit.demo.teacher import WEIGHTS, build

    for name, hands in ((stages.TEACHER, ("images", "restyled")), (stages.NARROW, ("images",))):
        build(tmp_path / name, tmp_path / "spoilt.safetensors", corpus, hands, {"images": set(), "restyled": set()})
        assert (tmp_path / name / WEIGHTS).read_bytes() == (folder / name / WEIGHTS).read_bytes()


def test_the_two_teachers_share_towers_and_differ_in_what_they_learned(prepared):
    from safetensors.torch import load_file

    from distillkit.demo.teacher import WEIGHTS

    folder, _ = prepared
    one, other = (load_file(folder / name / WEIGHTS) for name in (stages.TEACHER, stages.NARROW))
    changed = {name for name in one if not (one[name] == other[name]).all()}
    assert changed <= {"visual.head.proj.weight", "text.proj.weight", "logit_scale"} and len(changed) >= 2


def test_the_second_teacher_is_made_only_when_asked_for(prepared, monkeypatch, tmp_path):
    folder, _ = prepared
    made = shutil.copytree(folder, tmp_path / folder.name, ignore=shutil.ignore_patterns(stages.NARROW))
    record = json.loads((made / "prepared.json").read_text())
    (made / "prepared.json").write_text(json.dumps({k: v for k, v in record.items() if k != "narrow teacher"}))
    monkeypatch.setenv("DISTILLKIT_CACHE", str(tmp_path))
    stages.prepare(quick=True, say=lambda line: None)
    assert not (made / stages.NARROW).exists()


def test_progress_says_what_how_many_and_where(prepared):
    folder, said = prepared
    assert f"demo: images -> {folder / 'images'}" in said
    assert any(line.startswith("demo: texts: ") and "dropped for naming a held-out concept" in line for line in said)
    assert any("OpenMoji" in line and "CC BY-SA 4.0" in line for line in said)
    assert any("Twemoji" in line and "CC BY 4.0" in line for line in said)


def test_a_second_run_does_nothing_and_says_so(prepared):
    folder, _ = prepared
    before, said = state(folder), []
    assert stages.prepare(quick=True, say=said.append) == folder
    assert state(folder) == before
    assert sum("nothing to do" in line for line in said) == 7


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
    assert sum("nothing to do" in line for line in said) == 6
    assert json.loads((folder / "prepared.json").read_text()) == record


def test_other_inputs_make_a_stage_again_and_an_error_leaves_no_trace(prepared, monkeypatch):
    folder, _ = prepared
    monkeypatch.setattr(manifest, "fingerprint", lambda quick: "another version of a package")

    def fail(root, hand, corpus, say):
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
