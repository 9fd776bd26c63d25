"""One spelling for "this architecture, that file", and the older one, which means the same."""

import pytest
import timm
import torch
from safetensors.torch import save_file

from distillkit.errors import RecipeError
from distillkit.identity import inherited_sha256
from distillkit.recipe.weights import inherited, named
from distillkit.students.timm_image import TimmImage
from distillkit.teachers.openclip import Openclip


def test_a_name_and_a_file_are_one_name():
    assert named("resnet18", "a/b.safetensors") == "resnet18/a/b.safetensors"
    assert named("ViT-L-14/openai", None) == "ViT-L-14/openai"
    assert inherited({"model": "resnet18", "weights": "w.pth"}) == inherited("resnet18/w.pth") == "resnet18/w.pth"
    assert inherited({"model": "resnet18"}) == "resnet18" and inherited(None) is None


@pytest.mark.parametrize("wrong", [{"weights": "w"}, {"model": "a", "file": "w"}, {"model": "a/b", "weights": "w"}])
def test_other_tables_are_refused(wrong):
    with pytest.raises(RecipeError):
        inherited(wrong)


def test_a_student_inherits_by_either_spelling(tmp_path):
    torch.manual_seed(0)
    file = tmp_path / "trunk.safetensors"
    save_file(timm.create_model("mobilenetv3_small_050", num_classes=0).state_dict(), file)
    made = []
    for spelling in (f"mobilenetv3_small_050/{file}", {"model": "mobilenetv3_small_050", "weights": str(file)}):
        torch.manual_seed(1)
        student = TimmImage(model="mobilenetv3_small_050", image_size=32, embed_dim=8, inherit=spelling)
        student.begin()
        made.append(student.state_dict())
        assert inherited_sha256(spelling) is not None
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])


def test_a_teacher_takes_either_spelling(tmp_path):
    file = tmp_path / "absent.pt"
    for knobs in ({"model": f"ViT-B-32/{file}"}, {"model": "ViT-B-32", "weights": str(file)}):
        with pytest.raises(Exception, match=f"ViT-B-32/{file}: .* is neither a tag of ViT-B-32 nor a file"):
            Openclip.refuse_absent(**knobs)
