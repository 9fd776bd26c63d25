"""A run is of the weights that it began with: others make another run, the same in a lost file do not."""

import json
import shutil
from hashlib import sha256

import pytest

from distillkit.identity import inherited_sha256
from distillkit.store.reading.reader import FeatureStore
from tests.records import without_checksum


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("run:{}/run", "run/student.safetensors"),
        ("local-dir:{}/run", "run/open_clip_model.safetensors"),
        ("ViT-B-32/{}/run/weights.pt", "run/weights.pt"),
    ],
)
def test_the_weights_behind_a_name_are_known_by_their_bytes(tmp_path, name, file):
    assert inherited_sha256(name.format(tmp_path)) is None
    (tmp_path / "run").mkdir()
    for content in (b"one", b"other"):
        (tmp_path / file).write_bytes(content)
        assert inherited_sha256(name.format(tmp_path)) == sha256(content).hexdigest()


@pytest.mark.parametrize("name", [None, "ViT-B-32/laion2b_s34b_b79k", "resnet18.a1_in1k", "hf-hub:owner/name"])
def test_published_names_say_themselves_which_weights_they_are(name):
    assert inherited_sha256(name) is None


@pytest.fixture
def taking_over(student, tmp_path):
    """Training that begins with the weights of a run that was made before, at `first`."""
    first = tmp_path / "first"
    assert student(f'out="{first}"', "optim.epochs=1.0")[0] == 0

    def train(*settings, words=()):
        return student("checkpoints.every_steps=1", f'student.inherit="run:{first}"', *settings, words=words)

    train.first, train.run = first, student.run
    return train


def test_a_finished_run_that_took_over_weights_is_left_alone(taking_over):
    assert taking_over()[0] == 0
    code, err = taking_over()
    assert code == 0 and "already trained, nothing to do" in err and "training anew" not in err


def test_a_run_that_took_over_weights_goes_on_where_it_stood_with_or_without_them(taking_over, tmp_path):
    assert taking_over(f'out="{tmp_path}/calm"')[0] == 0
    assert taking_over()[0] == 0
    for gone in (False, True):
        (taking_over.run / "student.json").unlink()
        shutil.rmtree(max((taking_over.run / "checkpoints").iterdir()))
        if gone:
            shutil.rmtree(taking_over.first)
        code, err = taking_over()
        assert code == 0 and "continuing after step" in err and "training anew" not in err
        calm = tmp_path / "calm/student.safetensors"
        assert (taking_over.run / "student.safetensors").read_bytes() == calm.read_bytes()


def test_other_weights_of_the_same_name_make_another_run(taking_over, student):
    assert taking_over()[0] == 0
    assert student(f'out="{taking_over.first}"', "optim.epochs=1.0", "seed=9", words=["--overwrite"])[0] == 0
    code, err = taking_over()
    assert code == 1 and "inherited: '" in err and "--overwrite" in err
    code, err = taking_over(words=["--overwrite"])
    assert code == 0 and "inherited: '" in err and "training anew" in err


@pytest.fixture
def named(student, tmp_path):
    """Training whose captions are classes by the lines of a file; the file, and how to write it in another order."""
    names = sorted(set(FeatureStore(student.stores / "images").index["text"].to_pylist()))
    file = tmp_path / "names.txt"

    def listed(order):
        file.write_text("".join(f"{name}\n" for name in order(names)))

    def train(*settings):
        return student("data.labels=true", f'data.class_names="{file}"', "checkpoints.every_steps=1", *settings)

    train.listed, train.file, train.run = listed, file, student.run
    listed(list)
    return train


def test_other_numbers_for_the_same_classes_make_another_run(named):
    """Heads and class texts have learned the old ones."""
    assert named()[0] == 0
    for finished in (True, False):
        named.listed(reversed)
        code, err = named()
        assert code == 1 and "class_names_sha256: " in err.splitlines()[-1] and "Nothing was touched" in err
        named.listed(list)
        if finished:
            (named.run / "student.json").unlink()
            shutil.rmtree(max((named.run / "checkpoints").iterdir()))
    named.file.write_text(named.file.read_text().removesuffix("\n"))  # the same names
    code, err = named()
    assert code == 0 and "continuing after step" in err


def test_of_a_run_that_an_older_version_began_nothing_is_known_of_its_class_names(named):
    assert named()[0] == 0
    named.listed(reversed)
    record = json.loads((named.run / "recipe.json").read_text())
    del record["identity"]["class_names_sha256"]
    (named.run / "recipe.json").write_text(without_checksum(record))
    code, err = named()
    assert code == 0 and "already trained, nothing to do" in err
