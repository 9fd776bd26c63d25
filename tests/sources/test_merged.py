"""Several sources as one."""

import pytest
from PIL import Image

from distillkit.errors import RecipeError, SourceError
from distillkit.sources.merged import Merged


def example(folder):
    for name, count in (("cats", 2), ("dogs", 3)):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (8, 8), (number, 0, 0)).save(folder / name / f"{name}{number}.png")
    (folder / "texts.txt").write_text("a text\nanother\n")
    parts = [{"kind": "folder", "root": str(folder / name)} for name in ("cats", "dogs")]
    return {"parts": [*parts, {"kind": "textlines", "file": str(folder / "texts.txt")}]}


def test_each_location_names_its_part(tmp_path):
    source = Merged(**example(tmp_path))
    places = [sample.image for sample in source]
    assert places == ["0:cats0.png", "0:cats1.png", "1:dogs0.png", "1:dogs1.png", "1:dogs2.png", None, None]
    assert source.read("1:dogs2.png") == (tmp_path / "dogs/dogs2.png").read_bytes()


@pytest.mark.parametrize("place", ["cats0.png", "3:cats0.png", "-1:cats0.png", "0:../dogs/dogs0.png", ":cats0.png"])
def test_no_location_leaves_its_part(tmp_path, place):
    with pytest.raises(SourceError):
        Merged(**example(tmp_path)).read(place)


def test_a_part_that_cannot_be_is_named():
    with pytest.raises(RecipeError, match=r"parts\[0\].folder"):
        Merged(parts=[{"kind": "folder", "rot": "x"}])
