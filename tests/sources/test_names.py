"""Kind B in the sources of class prompts: equal names are one class and told; doubled lines are refused by name."""

import pytest

from distillkit.errors import SourceError
from distillkit.sources._names import doubled, same_form
from distillkit.sources.class_prompts import ClassPrompts
from distillkit.sources.folder import Folder
from distillkit.sources.label2text import Label2text
from distillkit.sources.synsets import Synsets

COMPOSED, PARTED = "caf\u00e9", "cafe\u0301"


def told(source):
    taken = len(list(source))
    return source.account.line(taken)


def test_kind_b_equal_names_are_told_with_their_labels(tmp_path):
    (tmp_path / "names.txt").write_text(f"crane\nship\ncrane\n{COMPOSED}\n{PARTED}\n", "utf-8")
    source = ClassPrompts(file=str(tmp_path / "names.txt"), templates=["a photo of {}"])
    line = told(source)
    assert line == f"5 samples taken; classes of equal names count as one: crane (0, 2), {COMPOSED} (3, 4)"
    assert told(source) == line  # not twice, when it is read again
    assert doubled(["a", "b"]) == ""


def test_kind_b_imagenets_own_pairs_are_told_where_nothing_tells_them_apart():
    line = told(Synsets(subset="imagenet1k", definitions=False))
    assert "crane (134, 517)" in line and "count as one" in line
    assert "count as one" not in told(Synsets(subset="imagenet1k"))


def test_kind_b_folders_of_one_name_are_one_class(tmp_path):
    for place in (PARTED, "cafx", COMPOSED):
        (tmp_path / "images" / place).mkdir(parents=True)
        (tmp_path / "images" / place / "1.png").touch()
    source = Folder(root=str(tmp_path / "images"), classes=True)
    assert [(one.label, same_form(one.key)) for one in source] == [
        (0, f"{COMPOSED}/1.png"),
        (1, "cafx/1.png"),
        (0, f"{COMPOSED}/1.png"),
    ]
    assert "1 class folder named as another in another Unicode form" in told(source)
    (tmp_path / "label2text.txt").write_text(f"{COMPOSED} 0 coffee\ncafx 1 ship\n", "utf-8")
    found = Label2text(file=str(tmp_path / "label2text.txt"), folder=str(tmp_path / "images"))
    assert [(one.label, one.text) for one in found] == [(0, "a photo of coffee"), (1, "a photo of ship")]


def test_kind_b_a_folder_on_two_lines_is_refused_by_name(tmp_path):
    for second in ("n01 1 ship", "n01 0 crane", "n01 2 crane"):
        (tmp_path / "label2text.txt").write_text(f"n01 0 crane\nn02 1 ship\n{second}\n")
        with pytest.raises(
            SourceError, match=r"label2text.txt:3: the folder 'n01' is on line 1 as well; .* keep one line"
        ):
            list(Label2text(file=str(tmp_path / "label2text.txt")))
    (tmp_path / "label2text.txt").write_text("n01 0 crane\nn02 1 crane\n")
    assert "crane (0, 1)" in told(Label2text(file=str(tmp_path / "label2text.txt")))


def test_kind_b_a_folder_is_found_whatever_the_unicode_form_of_its_name(tmp_path):
    (tmp_path / "images" / PARTED).mkdir(parents=True)
    (tmp_path / "images" / PARTED / "1.png").touch()
    (tmp_path / "label2text.txt").write_text(f"{COMPOSED} 0 coffee\nn02 1 ship\n", "utf-8")
    (tmp_path / "chatgpt.txt").write_text("It is hot.\nIt sails.\n")
    files = {"file": str(tmp_path / "label2text.txt"), "descriptions": str(tmp_path / "chatgpt.txt")}
    found = list(Label2text(**files, folder=str(tmp_path / "images")))
    assert [(one.text, one.label) for one in found] == [("a photo of coffee . It is hot.", 0)]
