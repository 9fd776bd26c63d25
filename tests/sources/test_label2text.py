"""The released files of OOD distillation: names, descriptions, and which classes have images."""

import pytest

from distillkit.errors import SourceError
from distillkit.sources.label2text import Label2text

CLASSES = "n03 2 sea_lion\nn01 0 tench\nn02 1 great white shark\n"
SAID = "It barks.\nIt swims.\nIt bites.\n"


def example(folder):
    (folder / "label2text.txt").write_text(CLASSES)
    (folder / "chatgpt.txt").write_text(SAID)
    return {"file": str(folder / "label2text.txt"), "descriptions": str(folder / "chatgpt.txt")}


def read(place, **more):
    return [(sample.label, sample.key, sample.text) for sample in Label2text(**example(place) | more)]


def test_names_alone_without_underscores(tmp_path):
    found = read(tmp_path, descriptions=None)
    assert found[0] == (0, "n03/0", "a photo of sea lion")
    assert found[2] == (2, "n02/0", "a photo of great white shark")


def test_line_i_describes_the_class_of_line_i(tmp_path):
    assert read(tmp_path)[1] == (1, "n01/0", "a photo of tench . It swims.")


def test_the_folders_of_the_images_say_which_classes_there_are_and_in_which_order(tmp_path):
    for name in ("n03", "n01"):
        (tmp_path / "images" / name).mkdir(parents=True)
        (tmp_path / "images" / name / "1.png").touch()
    (tmp_path / "images/empty").mkdir()  # no class: the source `folder` does not number it either
    found = read(tmp_path, folder=str(tmp_path / "images"))
    assert [(label, text) for label, _, text in found] == [
        (0, "a photo of tench . It swims."),
        (1, "a photo of sea lion . It barks."),
    ]
    (tmp_path / "images/n99").mkdir()
    (tmp_path / "images/n99/1.png").touch()
    with pytest.raises(SourceError, match="'n99'"):
        read(tmp_path, folder=str(tmp_path / "images"))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("chatgpt.txt", "It barks.\n", "1 description for the 3 classes"),
        ("label2text.txt", "n03 sea_lion\n", "label2text.txt:1: 'n03 sea_lion'"),
    ],
)
def test_files_that_do_not_fit_are_told(tmp_path, name, text, message):
    given = example(tmp_path)
    (tmp_path / name).write_text(text)
    with pytest.raises(SourceError, match=message):
        list(Label2text(**given))
