import random

import pytest
from PIL import Image

from distillkit.errors import SourceError
from distillkit.sources.csv import Csv


def example(folder):
    for name in ("a.png", "b.png"):
        Image.new("RGB", (4, 4)).save(folder / name)
    (folder / "pairs.tsv").write_text("title\tfilepath\na cat\ta.png\na dog\tb.png\n")
    return {"file": str(folder / "pairs.tsv")}


def read(folder, content, **knobs):
    (folder / "pairs.tsv").write_bytes(content if isinstance(content, bytes) else content.encode())
    return [(sample.key, sample.text) for sample in Csv(file=str(folder / "pairs.tsv"), **knobs)]


def refusal(folder, content, **knobs):
    with pytest.raises(SourceError) as caught:
        read(folder, content, **knobs)
    assert "\n" not in str(caught.value) and str(folder / "pairs.tsv") in str(caught.value)
    return str(caught.value)


def test_quotes_are_part_of_a_caption_and_swallow_nothing(tmp_path):
    rows = read(tmp_path, 'title\tfilepath\n"an open quote\ta.png\n6" nails, "quoted"\tb.png\n""\tc.png\n')
    assert rows == [("a.png", '"an open quote'), ("b.png", '6" nails, "quoted"'), ("c.png", '""')]


def test_only_a_line_feed_ends_a_line(tmp_path):
    caption = "one\rtwo\x0bthree\x0cfour\x1cfive\x85six\u2028seven"
    assert read(tmp_path, f"title\tfilepath\n{caption}\ta.png\n") == [("a.png", caption)]


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_of_windows_and_byte_order_marks_are_no_content(tmp_path, ending, mark):
    rows = ["title\tfilepath", "a cat\ta.png", "a dog\tb.png"]
    want = [("a.png", "a cat"), ("b.png", "a dog")]
    assert read(tmp_path, mark + ending.join(rows) + ending) == want
    assert read(tmp_path, mark + ending.join(rows)) == want  # no end after the last line
    assert read(tmp_path, mark + ending.join([*rows, "", ""])) == want  # blank lines at the end


def test_columns_are_found_by_name_and_others_ignored(tmp_path):
    content = "id,caption,where\n7,a cat,a.png\n"
    knobs = {"separator": ",", "text_column": "caption", "image_column": "where"}
    assert read(tmp_path, content, **knobs) == [("a.png", "a cat")]


def test_a_missing_column_is_named_with_those_there_are(tmp_path):
    assert "no column 'filepath' in its header ['title', 'path']" in refusal(tmp_path, "title\tpath\nx\ta.png\n")
    assert "no column 'filepath'" in refusal(tmp_path, "title,filepath\nx,a.png\n")
    assert "no column" in refusal(tmp_path, "")


@pytest.mark.parametrize("line", ["a cat", "a cat\ta.png\tmore", "a\tcat\ta.png"])
def test_a_row_with_other_cells_than_the_header_is_named_by_its_line(tmp_path, line):
    assert "pairs.tsv:2: " in refusal(tmp_path, f"title\tfilepath\n{line}\n")
    assert read(tmp_path, f"title\tfilepath\na dog\tb.png\n{line}\na cat\ta.png\n") == [
        ("b.png", "a dog"),
        ("pairs.tsv:3", None),
        ("a.png", "a cat"),
    ]
    source = Csv(file=str(tmp_path / "pairs.tsv"))
    with pytest.raises(SourceError, match=r"^pairs\.tsv:3: \d cells, the header has 2$"):
        source.read(list(source)[1].image)


def test_an_empty_caption_is_an_absent_one(tmp_path):
    assert read(tmp_path, "title\tfilepath\n\ta.png\n") == [("a.png", None)]


@pytest.mark.parametrize("cell", ["", "a\0b.png"])
def test_what_is_no_path_is_refused(tmp_path, cell):
    assert "pairs.tsv:2: " in refusal(tmp_path, f"title\tfilepath\na cat\t{cell}\n")


def test_what_is_not_utf_8_is_named_by_its_line(tmp_path):
    assert "pairs.tsv:2: not UTF-8" in refusal(tmp_path, b"title\tfilepath\ncaf\xe9\ta.png\n")
    assert "pairs.tsv:1: not UTF-8" in refusal(tmp_path, "title\tfilepath\n".encode("utf-16"))


@pytest.mark.parametrize(
    "path", ["../secret.png", "/etc/passwd", "deep/../../secret.png", "link/secret.png", "link.png"]
)
def test_paths_that_leave_the_root_are_refused(tmp_path, path):
    root = tmp_path / "corpus"
    (root / "deep").mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(b"")
    (root / "link").symlink_to(tmp_path, target_is_directory=True)
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    assert "leaves" in refusal(tmp_path, f"title\tfilepath\nx\t{path}\n", root=str(root))


def test_links_and_dots_that_stay_below_the_root_are_fine(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "deep", target_is_directory=True)
    paths = ["link/a.png", "deep/../a.png", "./b.png", f"{tmp_path}/c.png"]
    rows = read(tmp_path, "title\tfilepath\n" + "".join(f"x\t{path}\n" for path in paths))
    assert [key for key, _ in rows] == paths


def test_a_name_that_starts_like_a_reason_is_a_name(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "?a.png")
    assert read(tmp_path, "title\tfilepath\nx\t?a.png\n") == [("?a.png", "x")]
    source = Csv(file=str(tmp_path / "pairs.tsv"))
    assert source.read(next(iter(source)).image).read_bytes() == (tmp_path / "?a.png").read_bytes()


def test_circles_of_links_do_not_stop_the_plan(tmp_path):
    (tmp_path / "one").symlink_to(tmp_path / "two")
    (tmp_path / "two").symlink_to(tmp_path / "one")
    assert read(tmp_path, "title\tfilepath\nx\tone/a.png\n") == [("one/a.png", "x")]


def test_a_root_that_is_a_link_works(tmp_path):
    example(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    samples = list(Csv(file=str(tmp_path / "link/pairs.tsv")))
    assert [sample.image for sample in samples] == ["a.png", "b.png"]
    assert "leaves" in refusal(tmp_path, f"title\tfilepath\nx\t{tmp_path}/a.png\n", root=str(tmp_path / "link"))


def test_another_order_gives_the_same_keys(tmp_path):
    lines = [f"text {n}\timages/{n}.png" for n in range(20)]
    first = read(tmp_path, "\n".join(["title\tfilepath", *lines]))
    random.Random(0).shuffle(lines)
    second = read(tmp_path, "\n".join(["title\tfilepath", *lines]))
    assert first != second and sorted(first) == sorted(second)


def test_missing_places_are_named(tmp_path):
    with pytest.raises(SourceError, match=r"absent\.tsv: no such file"):
        Csv(file=str(tmp_path / "absent.tsv"))
    example(tmp_path)
    with pytest.raises(SourceError, match=r"absent: no such folder of images; mend source\.root"):
        Csv(file=str(tmp_path / "pairs.tsv"), root=str(tmp_path / "absent"))
    with pytest.raises(SourceError, match=r"source\.separator is empty"):
        Csv(file=str(tmp_path / "pairs.tsv"), separator="")
