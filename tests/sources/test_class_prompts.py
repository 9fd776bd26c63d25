import open_clip
import pytest

from distillkit.errors import SourceError
from distillkit.sources.class_prompts import ClassPrompts


def example(folder):
    (folder / "names.txt").write_text("cat\ngreat white shark\n")
    return {"file": str(folder / "names.txt"), "templates": "simple_imagenet"}


def read(folder, content, templates="simple_imagenet"):
    (folder / "names.txt").write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(ClassPrompts(file=str(folder / "names.txt"), templates=templates))


@pytest.mark.parametrize(
    ("templates", "known"),
    [
        ("openai_imagenet", open_clip.OPENAI_IMAGENET_TEMPLATES),
        ("simple_imagenet", open_clip.SIMPLE_IMAGENET_TEMPLATES),
    ],
)
def test_every_name_in_every_template(tmp_path, templates, known):
    samples = read(tmp_path, "cat\ndog\n", templates)
    assert len(samples) == 2 * len(known) == 2 * {"openai_imagenet": 80, "simple_imagenet": 7}[templates]
    assert [sample.label for sample in samples] == [0] * len(known) + [1] * len(known)
    assert {sample.text for sample in samples if sample.label == 1} == {template("dog") for template in known}


def test_labels_are_line_numbers_whatever_the_line_ends(tmp_path):
    want = {0: "cat", 1: "dog"}
    for content in ("cat\ndog", "cat\r\ndog\r\n", "\ufeff cat \ndog\n\n\n"):
        samples = read(tmp_path, content)
        assert {sample.label for sample in samples} == {0, 1}
        assert all(want[sample.label] in sample.text.split(".")[0] for sample in samples)


def test_only_a_line_feed_ends_a_line(tmp_path):
    assert {sample.label for sample in read(tmp_path, "one\u2028still one\ntwo\n")} == {0, 1}


def test_an_empty_name_is_refused_because_it_would_move_the_labels(tmp_path):
    with pytest.raises(SourceError, match=r"names\.txt:2: an empty class name"):
        read(tmp_path, "cat\n\ndog\n")
    with pytest.raises(SourceError, match=r"names\.txt:1: an empty class name"):
        read(tmp_path, "")


def test_what_is_not_utf_8_and_what_is_missing_are_named(tmp_path):
    with pytest.raises(SourceError, match=r"names\.txt:1: not UTF-8"):
        read(tmp_path, b"caf\xe9\n")
    with pytest.raises(SourceError, match="absent: no such file of class names"):
        ClassPrompts(file=str(tmp_path / "absent"))


def test_templates_of_ones_own(tmp_path):
    samples = read(tmp_path, "cat\n{dog}\n", ["a photo of {}", "{}."])
    assert [sample.text for sample in samples] == ["a photo of cat", "cat.", "a photo of {dog}", "{dog}."]
    with pytest.raises(SourceError, match="must have one"):
        read(tmp_path, "cat\n", ["a photo"])


def test_templates_of_a_file_as_clip_benchmark_keeps_them(tmp_path):
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    templates = tmp_path / "templates.txt"
    templates.write_text("a photo of a {c}.\n\nthe {c}\n")
    source = ClassPrompts(file=str(tmp_path / "names.txt"), templates_file=str(templates))
    assert [(one.text, one.label) for one in source] == [
        ("a photo of a cat.", 0), ("the cat", 0), ("a photo of a dog.", 1), ("the dog", 1),
    ]  # fmt: skip
    for wrong, told in (("a photo\n", "templates.txt:1: 'a photo' must have one"), ("\n", "has no templates")):
        templates.write_text(wrong)
        with pytest.raises(SourceError, match=told):
            list(source)


def test_imagenets_names_are_those_that_open_clip_brings():
    found = list(ClassPrompts(file="openai_imagenet", templates=["a {}"]))
    assert len(found) == 1000 and (found[0].text, found[-1].text) == ("a tench", "a toilet paper")
