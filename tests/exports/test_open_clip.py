"""open_clip opens what it is given by its own means: the tokenizer of a text tower lies beside its weights."""

import logging
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from distillkit.errors import TeacherError
from distillkit.exports._describe import teacher_texts
from distillkit.exports._described import Described, ImageTower, Shown
from distillkit.exports._towers import text_tower_of
from distillkit.exports.open_clip import OpenClip
from distillkit.students._openclip import TextInput, configure, image_tower, text_tower
from tests.students.small import PAIR

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "cat", "dog", "##s"]
TEXTS = ["a red cat", "dogs", "a DOG a cat", "", "a red red cat a dog a cat a dog a cat"]


def test_a_tokenizer_of_its_own_goes_along_and_texts_are_told_the_same(tmp_path):
    from transformers import BertTokenizerFast

    (tmp_path / "vocab.txt").write_text("\n".join(WORDS))
    BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(str(tmp_path / "tokenizer"))
    text = PAIR["text_cfg"] | {"context_length": 8, "vocab_size": len(WORDS), "pool_type": "last"}
    text |= {"hf_tokenizer_name": str(tmp_path / "tokenizer")}
    config = configure(PAIR | {"text_cfg": text}, embed_dim=32)
    torch.manual_seed(0)
    image, words = image_tower(config).eval(), text_tower(config).eval()
    told = text_tower_of(words, config, "toy", TextInput.of(words, config))
    size = config["vision_cfg"]["image_size"]
    student = Described("toy", ImageTower(image, 32, Shown(size, (0.5,) * 3, (0.5,) * 3), openclip=config), told)
    assert OpenClip().holds(student) is None
    (tmp_path / "made").mkdir()
    OpenClip().write(student, tmp_path / "made", "fp32")
    with torch.inference_mode():
        wanted = words(told.tokenize(TEXTS)).numpy()
    shutil.rmtree(tmp_path / "tokenizer")  # on another machine it is not there
    opened = OpenClip().open((tmp_path / "made").rename(tmp_path / "moved"))
    np.testing.assert_allclose(opened.texts(TEXTS), wanted, atol=1e-5)
    assert opened.images([Image.new("RGB", (size, size))]).shape == (1, 32)
    assert len(np.unique(wanted.round(4), axis=0)) == len(TEXTS)


def test_libraries_are_not_heard_while_the_teachers_text_tower_is_loaded(monkeypatch):
    heard = []

    def load(name):
        heard.append(logging.getLogger("torch.utils._pytree").level)
        raise TeacherError("no such folder")

    monkeypatch.setattr("distillkit.exports._describe.load", load)
    with pytest.raises(TeacherError):
        teacher_texts({"kind": "openclip", "model": "local-dir:x", "weights_sha256": "0" * 64})
    assert heard == [logging.ERROR + 1]
