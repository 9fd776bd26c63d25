"""What is advised where a store lacks what a goal needs: only what its teacher could give."""

import pytest
import timm
import torch

from distillkit.drafting.able import advice
from distillkit.drafting.draft import draft
from distillkit.drafting.material import Material
from distillkit.errors import RecipeError

ASK = 'ask the teacher for it: fields = ["cls", ...]'


def test_a_convnet_is_not_asked_for_class_tokens(tmp_path, corpus, run_cli):
    torch.save(timm.create_model("test_resnet").state_dict(), tmp_path / "weights.pth")
    (tmp_path / "extract.toml").write_text(
        f'name = "net"\nout = "{tmp_path}/out"\nteacher = {{ kind = "timm", model = "test_resnet", weights = '
        f'"{tmp_path}/weights.pth", image_size = 64 }}\n[[corpora]]\nname = "images"\nfields = ["image"]\n'
        f'source = {{ kind = "csv", file = "{corpus}/pairs.tsv" }}\nmax_failures = 0.2\n'
    )
    code, _, err = run_cli("extract-teacher", tmp_path / "extract.toml")
    assert code == 0, err
    told = r"holds no 'cls', only image; test_resnet cannot give it, so choose another goal, or extract with a teacher"
    with pytest.raises(RecipeError, match=told):
        draft("dino", Material(str(tmp_path / "out/images")), "mine", "mine.toml")


def test_a_transformer_is_asked_and_of_an_unknown_network_nothing_is_promised():
    assert advice({"kind": "timm", "model": "test_vit", "image_size": 32}, "cls").startswith(
        f"choose another goal, or {ASK}"
    )
    for other in (
        {"kind": "toy"},
        {"kind": "timm", "model": "hf-hub:nobody/nothing"},
        {"kind": "timm", "model": "gone"},
    ):
        assert f"if its network has class tokens, {ASK}" in advice(other, "cls")
    assert advice({"kind": "toy"}, "image").startswith("choose another goal, or ask the teacher")
