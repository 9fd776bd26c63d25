"""A run is of the weights that it began with: others make another run, the same in a lost file do not."""

from hashlib import sha256

import pytest

from distillkit.runfolder import inherited_sha256


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
