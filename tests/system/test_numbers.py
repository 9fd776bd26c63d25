"""What the command line refuses, Python refuses: a number that cannot be meant is one line, not a traceback."""

import pytest

import distillkit
from distillkit.embedding.embedder import Embedder
from distillkit.errors import DistillkitError


class Nobody(Embedder):
    """Is never asked."""

    name = "nobody"
    image_tower = text_tower = None

    def identity(self, field): ...

    def as_teacher(self, field): ...

    def other_space(self, record): ...


@pytest.mark.parametrize("number", [0, -1])
def test_less_than_one_of_something_is_refused_by_its_name(tmp_path, number):
    asked = {
        "top": lambda: distillkit.search(Nobody(), "a cat", within=tmp_path, top=number),
        "batch_size": lambda: distillkit.search(Nobody(), "a cat", within=tmp_path, batch_size=number),
        "threads": lambda: distillkit.embed(Nobody(), tmp_path, out=tmp_path / "a.npy", threads=number),
        "batch": lambda: distillkit.bench_model([tmp_path], batch=number),
        "text_batch": lambda: distillkit.suggest_scale(tmp_path, text_batch=number),
        "reforward": lambda: distillkit.verify(tmp_path, reforward=number),
        "rows": lambda: distillkit.teacher_precision(tmp_path, "bf16", rows=number),
    }
    for name, ask in asked.items():
        with pytest.raises(DistillkitError, match=rf"^{name} = {number}: at least [12] is needed$"):
            ask()
    for call in (
        lambda n: Nobody().embed_images(["a.png"], batch_size=n),
        lambda n: Nobody().embed_texts("a", batch_size=n),
    ):
        with pytest.raises(DistillkitError, match="batch_size"):
            call(number)
    assert list(tmp_path.iterdir()) == []
