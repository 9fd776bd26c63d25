"""A teacher is its weights and what it does with them; what it is called is a remark."""

import pytest

from distillkit.errors import StoreError
from distillkit.store.format.sameness import begun_with, changes, other_teacher, recognised

CLIP = {
    "kind": "openclip",
    "model": "ViT-L-14/openai",
    "weights_sha256": "a" * 64,
    "tensors": 590,
    "preprocess": {"size": [224, 224], "mean": [0.5, 0.5, 0.5]},
    "context_length": 77,
    "activation": "quick_gelu",
    "precision": "fp32",
    "logit_scale": 100.0,
}
DINO = {"kind": "timm", "model": "tf_efficientnet_b0.in1k", "weights_sha256": "b" * 64, "precision": "fp32"}
# Written by a version that did not count tensors, or read from another place.
SAME = [
    (CLIP, CLIP | {"model": "local-dir:/models/clip"}),
    (CLIP | {"model": "local-dir:~/clip"}, CLIP | {"model": "hf-hub:openai/clip"}),
    (CLIP, CLIP | {"model": "ViT-L-14-quickgelu/models/clip.pt"}),
    (CLIP, {name: value for name, value in CLIP.items() if name != "tensors"}),
    (DINO, DINO | {"model": "tf_efficientnet_b0", "weights": "/models/b0.pth", "prefix": "visual."}),
    (DINO, DINO | {"model": "local-dir:/models/b0"}),
    (CLIP, {"kind": "imported", "model": "L/14", "weights_sha256": "a" * 64}),
    ({"kind": "imported", "model": "L/14", "weights_sha256": "a" * 64}, {"kind": "imported", "model": "L/14"}),
    ({"kind": "my_pkg.mod:Mine", "model": "x"}, {"kind": "my_pkg.mod:Mine", "model": "x"}),
]
OTHER = [
    (CLIP, CLIP | {"weights_sha256": "c" * 64}, "weights_sha256"),
    (CLIP, CLIP | {"precision": "bf16"}, "precision: 'fp32' against 'bf16'; weights_sha256 aaaaaaaaaaaaaaaa against"),
    (CLIP, CLIP | {"activation": "gelu"}, "activation"),
    ({"activation": "relu"} | CLIP, CLIP | {"activation": "gelu", "weights_sha256": "c" * 64}, "weights_sha256"),
    (CLIP, CLIP | {"preprocess": CLIP["preprocess"] | {"size": [336, 336]}}, "preprocess"),
    (CLIP, CLIP | {"model": "ViT-L-14-336/openai"}, "architecture: 'ViT-L-14' against 'ViT-L-14-336'"),
    (DINO, DINO | {"model": "efficientnet_b0.in1k"}, "architecture"),  # padding has no weights
    (CLIP, DINO, "kind"),
    (CLIP, {"kind": "imported", "model": "L/14"}, "model"),
    (CLIP, {"kind": "imported", "model": "L/14", "weights_sha256": "c" * 64}, "weights_sha256"),
    ({"kind": "my_pkg.mod:Mine", "model": "x"}, {"kind": "my_pkg.mod:Mine", "model": "y"}, "model"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_names_and_places_are_remarks(one, other):
    assert other_teacher(one, other) is None and other_teacher(other, one) is None


@pytest.mark.parametrize(("one", "other", "told"), OTHER)
def test_what_differs_is_told_whichever_comes_first(one, other, told):
    assert other_teacher(one, other).startswith(told)
    assert other_teacher(other, one) is not None


def test_a_difference_names_both_teachers_and_both_hashes():
    told = other_teacher(CLIP, CLIP | {"model": "local-dir:/other", "weights_sha256": "c" * 64, "precision": "bf16"})
    assert told == f"weights_sha256: '{'a' * 64}' against '{'c' * 64}'; model ViT-L-14/openai against local-dir:/other"


def test_an_identity_is_recognised_under_the_names_it_was_begun_with():
    before = {"teachers": {"clip": CLIP, "dino": DINO}, "batch_size": 8, "rows": 3, "views": {"count": 1}}
    called = {"clip": CLIP | {"model": "local-dir:/c"}, "dino": DINO | {"model": "local-dir:/d"}}
    now = before | {"teachers": called, "batch_size": 64}
    assert recognised(before, now) == before and changes(before, now) == []
    assert recognised(None, now) == now
    other = now | {"rows": 4, "teachers": called | {"dino": called["dino"] | {"weights_sha256": "c" * 64}}}
    assert recognised(before, other)["teachers"]["clip"] == CLIP
    found = [line.partition(": ")[0] for line in changes(before, other)]
    assert found == ["teachers.dino.weights_sha256", "rows", "teachers.dino.model"]


def test_a_store_of_a_newer_format_is_not_taken_for_one_that_differs(tmp_path):
    (tmp_path / "plan.json").write_text('{"version": 99}')
    with pytest.raises(StoreError, match="format version 99, this distillkit reads 1 to 2; use the distillkit that"):
        begun_with(tmp_path)
    (tmp_path / "plan.json").write_text("{}")  # version 1 did not say so
    assert begun_with(tmp_path) == {}
