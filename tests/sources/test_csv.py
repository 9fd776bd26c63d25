import csv
import random

import pytest
from PIL import Image

from distillkit.errors import SourceError
from distillkit.sources.csv import Csv
from distillkit.store.format.plan import make_plan


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
    assert "no column 'filepath' in its first line ['title', 'path']" in refusal(tmp_path, "title\tpath\nx\ta.png\n")
    assert "no column 'filepath'" in refusal(tmp_path, "title,filepath\nx,a.png\n")
    assert "empty; its first line must name its columns" in refusal(tmp_path, "")


@pytest.mark.parametrize("line", ["a cat", "a cat\ta.png\tmore", "a\tcat\ta.png"])
def test_a_row_with_other_cells_than_the_header_is_named_by_its_line(tmp_path, line):
    assert "pairs.tsv:2: " in refusal(tmp_path, f"title\tfilepath\n{line}\n")
    assert read(tmp_path, f"title\tfilepath\na dog\tb.png\n{line}\na cat\ta.png\n") == [
        ("b.png", "a dog"),
        ("pairs.tsv:3", None),
        ("a.png", "a cat"),
    ]
    source = Csv(file=str(tmp_path / "pairs.tsv"))
    with pytest.raises(SourceError, match=r"^pairs\.tsv:3: \d cells?, the header has 2$"):
        source.read(list(source)[1].image)


def test_an_empty_caption_is_an_absent_one(tmp_path):
    assert read(tmp_path, "title\tfilepath\n\ta.png\n") == [("a.png", None)]


@pytest.mark.parametrize("cell", ["", "a\0b.png"])
def test_what_is_no_path_is_refused(tmp_path, cell):
    assert "pairs.tsv:2: " in refusal(tmp_path, f"title\tfilepath\na cat\t{cell}\n")


def test_what_is_not_utf_8_is_named_by_its_line(tmp_path):
    assert "not one caption can be read" in refusal(tmp_path, b"title\tfilepath\ncaf\xe9\ta.png\n")
    assert "pairs.tsv:2: not UTF-8" in refusal(tmp_path, b"title\tfilepath\nx\tcaf\xe9.png\n")
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
    with pytest.raises(SourceError, match=r"absent: no such folder of images; mend that path"):
        Csv(file=str(tmp_path / "pairs.tsv"), root=str(tmp_path / "absent"))
    with pytest.raises(SourceError, match=r"source\.separator is empty"):
        Csv(file=str(tmp_path / "pairs.tsv"), separator="")


# Quotes.

ODD = ['a 8" screen', "two\nlines", "a, comma", "a\ttab", "three\r\nends", 'only "quoted"', "plain", "café\u2028 — 文"]


@pytest.mark.parametrize("separator", ["\t", ",", ";"])
@pytest.mark.parametrize("style", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_table_that_a_csv_module_wrote_is_read_as_it_was_meant(tmp_path, separator, style, end):
    with (tmp_path / "pairs.tsv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=separator, quoting=style, lineterminator=end)
        writer.writerow(["title", "filepath"])
        writer.writerows([text, f"{n}.png"] for n, text in enumerate(ODD))
    source = Csv(file=str(tmp_path / "pairs.tsv"), separator=separator)
    assert [(one.key, one.text) for one in source] == [(f"{n}.png", text) for n, text in enumerate(ODD)]
    assert "cells are quoted (source.quoting = false" in source.account.line(8)


@pytest.mark.parametrize("text", ODD[:5])
def test_one_odd_caption_is_enough_to_tell_quoting(tmp_path, text):
    with (tmp_path / "pairs.tsv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter="\t").writerows([["title", "filepath"], ["plain", "0.png"], [text, "1.png"]])
    assert [one.text for one in Csv(file=str(tmp_path / "pairs.tsv"))] == ["plain", text]


def test_quoting_may_be_told(tmp_path):
    content = 'title\tfilepath\n"a cat"\ta.png\n'
    assert read(tmp_path, content) == read(tmp_path, content, quoting=False) == [("a.png", '"a cat"')]
    assert read(tmp_path, content, quoting=True) == [("a.png", "a cat")]
    broken = 'title\tfilepath\na dog\tb.png\n"a" cat\ta.png\n'
    assert "pairs.tsv:3: quotes that do not fit" in refusal(tmp_path, broken, quoting=True)
    assert read(tmp_path, broken) == [("b.png", "a dog"), ("a.png", '"a" cat')]


def test_lines_are_counted_where_captions_have_several(tmp_path):
    content = 'title\tfilepath\n"one\ntwo\nthree"\ta.png\nno path\n'
    assert [key for key, _ in read(tmp_path, content)] == ["a.png", "pairs.tsv:5"]


# Columns.


def test_texts_are_optional_and_labels_and_keys_have_columns(tmp_path):
    content = "filepath,label,id\na.png,3,x\nb.png,,y\nc.png,4.0,\n"
    (tmp_path / "pairs.tsv").write_text(content)
    source = Csv(file=str(tmp_path / "pairs.tsv"), separator=",", label_column="label", key_column="id")
    assert [(one.key, one.image, one.text) for one in source] == [
        ("x", "a.png", None),
        ("y", "b.png", None),
        ("pairs.tsv:4", "?pairs.tsv:4: no key in 'id'", None),
    ]
    assert make_plan(source, source.root)[0]["label"].to_pylist() == [3, None, None]
    assert "no column 'caption'" in refusal(tmp_path, content, separator=",", text_column="caption")
    assert 'set source.separator = ","' in refusal(tmp_path, content)


def test_captions_of_several_lines_may_be_several(tmp_path):
    content = 'title\tfilepath\n"one\ntwo"\ta.png\n'
    assert read(tmp_path, content, captions="all") == [("a.png/0", "one"), ("a.png/1", "two")]
    assert read(tmp_path, content, captions=1) == [("a.png", "two")]


# Side matter.


def test_a_caption_that_is_not_utf_8_costs_no_picture(tmp_path):
    rows = [b"title\tfilepath", b"caf\xe9\tb.png", b"a cat\ta.png", b"a dog\tc\xe9.png", "文\td.png".encode()]
    (tmp_path / "pairs.tsv").write_bytes(b"\n".join(rows))
    source = Csv(file=str(tmp_path / "pairs.tsv"))
    assert [(one.key, one.text) for one in source] == [
        ("b.png", None),
        ("a.png", "a cat"),
        ("pairs.tsv:4", None),
        ("d.png", "文"),
    ]
    assert source.account.line(4) == "4 samples taken; left out: 1 caption not in UTF-8"
    assert source.account.losses == [
        {"key": "b.png", "stage": "text", "error": r"the caption is not UTF-8: 'caf\udce9'"}
    ]


# Links.


def test_links_to_folders_are_how_a_corpus_is_spread_over_disks(tmp_path):
    (tmp_path / "disk/deep").mkdir(parents=True)
    (tmp_path / "corpus").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "corpus/images").symlink_to(tmp_path / "disk")
    (tmp_path / "disk/deep/more").symlink_to(tmp_path / "other")
    for name in ("disk/a.png", "disk/deep/b.png", "other/c.png"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    paths = ["images/a.png", "images/deep/b.png", "images/deep/more/c.png"]
    (tmp_path / "corpus/pairs.tsv").write_text("title\tfilepath\n" + "".join(f"x\t{path}\n" for path in paths))
    source = Csv(file=str(tmp_path / "corpus/pairs.tsv"))
    assert [one.key for one in source] == paths
    assert all(source.read(one.image).read_bytes() for one in source)
    for path in ("images/../secret.png", "images/deep/../../secret.png"):
        assert "leaves" in refusal(tmp_path / "corpus", f"title\tfilepath\nx\t{path}\n", follow_links=True)


def test_a_snapshot_of_the_hub_is_read_through_its_links_to_blobs(tmp_path):
    blobs, snapshot = tmp_path / "datasets--o--n/blobs", tmp_path / "datasets--o--n/snapshots/0123abc"
    (snapshot / "images").mkdir(parents=True)
    blobs.mkdir()
    Image.new("RGB", (4, 4)).save(blobs / "77.png")
    (blobs / "88").write_text("title\tfilepath\nx\timages/a.png\n")
    (snapshot / "images/a.png").symlink_to("../../../blobs/77.png")
    (snapshot / "pairs.tsv").symlink_to("../../blobs/88")
    source = Csv(file=str(snapshot / "pairs.tsv"))
    assert [source.read(one.image).read_bytes() for one in source] == [(blobs / "77.png").read_bytes()]


def test_a_link_to_a_file_elsewhere_is_followed_when_that_is_allowed(tmp_path):
    (tmp_path / "corpus").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    (tmp_path / "corpus/a.png").symlink_to(tmp_path / "a.png")
    content = "title\tfilepath\nx\ta.png\n"
    assert "by a link; refused (source.follow_links = true allows it)" in refusal(tmp_path / "corpus", content)
    assert read(tmp_path / "corpus", content, follow_links=True) == [("a.png", "x")]
    assert "leaves" in refusal(tmp_path / "corpus", "title\tfilepath\nx\t../a.png\n", follow_links=True)


@pytest.mark.parametrize("header", ["filepath,title,label", '"filepath","title","label"'])
def test_kind_h_a_table_whose_cells_are_all_quoted_but_numbers_is_quoted(tmp_path, header):
    rows = [header, '"a.png","a cat",1', '"b.png","a dog",2']
    (tmp_path / "pairs.csv").write_text("\n".join(rows) + "\n")
    source = Csv(file=str(tmp_path / "pairs.csv"), separator=",", label_column="label")
    told = [(sample.key, sample.text, sample.label) for sample in source]
    assert told == [("a.png", "a cat", "1"), ("b.png", "a dog", "2")]
    assert "cells are quoted" in source.account.line(2)


def test_kind_h_captions_that_are_quotations_make_no_table_quoted(tmp_path):
    (tmp_path / "pairs.csv").write_text('filepath,title\na.png,"so it is"\nb.png,"no"\n')
    told = [sample.text for sample in Csv(file=str(tmp_path / "pairs.csv"), separator=",")]
    assert told == ['"so it is"', '"no"']


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", r"pairs\.csv: empty; its first line must name its columns"),
        ("filepath,title\ra.png,a\r", r"pairs\.csv: its lines end in a CR without a line feed; convert them"),
        ("filepath,title,filepath\na.png,x,b.png\n", r"pairs\.csv: 2 of its columns are called 'filepath'; rename one"),
    ],
)
def test_kinds_b_and_h_a_table_that_could_be_read_in_two_ways_is_refused(tmp_path, content, told):
    (tmp_path / "pairs.csv").write_bytes(content.encode())
    with pytest.raises(SourceError, match=told):
        list(Csv(file=str(tmp_path / "pairs.csv"), separator=","))


def test_kind_g_a_caption_of_blanks_is_an_absent_one(tmp_path):
    (tmp_path / "pairs.csv").write_text("filepath,title\na.png,  \nb.png,x\n")
    assert [sample.text for sample in Csv(file=str(tmp_path / "pairs.csv"), separator=",")] == [None, "x"]


def test_the_columns_are_told_where_none_was_named_for_captions(tmp_path):
    (tmp_path / "pairs.csv").write_text("filepath,caption\na.png,a cat\n")
    source = Csv(file=str(tmp_path / "pairs.csv"), separator=",")
    assert [sample.text for sample in source] == [None]
    assert source.account.found == "its columns are filepath, caption"


def test_one_that_is_left_out_is_told_in_the_singular(tmp_path):
    (tmp_path / "pairs.csv").write_bytes(b"filepath,title\na.png,\xff\nb.png,x\n")
    source = Csv(file=str(tmp_path / "pairs.csv"), separator=",")
    assert len(list(source)) == 2 and source.account.line(2).endswith("left out: 1 caption not in UTF-8")


# A quote that does not close, as of a table that was cut off.

WHOLE = 'filepath,title\na.png,"a cat, sitting"\nb.png,"a ""big"" dog"\n'


@pytest.mark.parametrize(
    ("end", "line", "told"),
    [
        ('c.png,"a cow, gra', 4, "one opens here and is still open where the file ends"),
        ('c.png,"a cow', 4, "one opens here and is still open where the file ends"),
        ('c.png,"a cow\nd.png,"a hen, red"\n', 4, "one opens here and closes only within a cell of line 5"),
        ('c.png,"two\nlines, x"\n"",""\nd.png,"a ""hen\ne.png,x,"y" z,"k"\n', 7, "closes only within a cell of line 8"),
        ('c.png,"a" cow,"x"\n', 4, "one opens here and closes before its cell ends"),
    ],
)
def test_a_quote_that_does_not_close_is_named_by_the_line_where_it_opens(tmp_path, end, line, told):
    """Not taken for a table without quotes, whose first row with a comma in it would be told."""
    (tmp_path / "pairs.csv").write_text(WHOLE + end)
    with pytest.raises(SourceError) as caught:
        list(Csv(file=str(tmp_path / "pairs.csv"), separator=","))
    assert str(caught.value).startswith(f"{tmp_path / 'pairs.csv'}:{line}: quotes that do not fit: ")
    assert told in str(caught.value) and "\n" not in str(caught.value)


def test_an_open_quote_among_quotes_that_are_text_is_told_with_its_row(tmp_path):
    (tmp_path / "pairs.csv").write_text('filepath,title\na.png,a cat\nb.png,"a dog, big\nc.png,a cow\n')
    source = Csv(file=str(tmp_path / "pairs.csv"), separator=",")
    rows = list(source)
    assert [one.key for one in rows] == ["a.png", "pairs.csv:3", "c.png"]
    with pytest.raises(SourceError, match="3 cells, the header has 2; a quote opens in it that does not close"):
        source.read(rows[1].image)


def test_each_row_that_an_open_quote_took_is_one_that_is_lost(tmp_path):
    rows = ["filepath,title,label", 'a.png,"x, y",1', 'b.png,"a cow, gra', 'c.png,5",2,4', 'd.png,"a, b",3']
    (tmp_path / "pairs.csv").write_text("\n".join(rows) + "\n")
    source = Csv(file=str(tmp_path / "pairs.csv"), separator=",")
    found = {one.key: one.image for one in source}
    assert list(found) == ["a.png", "pairs.csv:3", "pairs.csv:4", "d.png"]
    with pytest.raises(SourceError, match="4 cells, the header has 3; its quotes reach to line 4"):
        source.read(found["pairs.csv:3"])
    with pytest.raises(SourceError, match="belongs to the row of line 3, where a quote opens"):
        source.read(found["pairs.csv:4"])


def test_several_lines_of_a_caption_in_an_odd_row_are_one_row(tmp_path):
    content = 'filepath,title,label\na.png,"x, y",1\nb.png,"two\nlines",2,more\n'
    (tmp_path / "pairs.csv").write_text(content)
    assert [one.key for one in Csv(file=str(tmp_path / "pairs.csv"), separator=",")] == ["a.png", "pairs.csv:3"]
