"""distillkit search: the nearest pictures by words and by a picture, in a folder and in a store; quick again."""

import errno
import json
import os
import re
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import distillkit
from distillkit.embedding import kept
from distillkit.errors import DistillkitError, SourceError, StoreError
from distillkit.mining.exact import nearest
from distillkit.store.reading.reader import FeatureStore
from tests.embedding.conftest import STUDENTS, make_run, photos, runs  # noqa: F401


def by_hand(student, asked, paths):
    """Places and cosines of `paths`, best first."""
    scores = (asked @ student.embed_images(paths, normalise=True).T)[0]
    order = scores.argsort(descending=True, stable=True)
    return order.tolist(), scores[order]


@pytest.mark.parametrize("who", ["image", "pair"])
def test_words_find_the_pictures_that_are_nearest(runs, photos, who):  # noqa: F811
    student, paths = distillkit.load_student(runs[who]), sorted(photos.rglob("*.png"))
    found = distillkit.search(runs[who], "a red bicycle", within=photos, top=5)
    order, scores = by_hand(student, student.embed_texts(["a red bicycle"], normalise=True), paths)
    assert [hit.path for hit in found.hits] == [paths[at] for at in order[:5]]
    torch.testing.assert_close(torch.tensor([hit.score for hit in found.hits]), scores[:5], rtol=1e-3, atol=1e-5)
    assert found.among == 12 and found.hits[0].key == str(found.hits[0].path.relative_to(photos))


def test_a_picture_finds_itself_first(runs, photos):  # noqa: F811
    path = photos / "hills/009.png"
    for image in (path, str(path), Image.open(path)):
        found = distillkit.search(runs["own space"], image=image, within=photos, top=99)
        assert found.hits[0].path == path and found.hits[0].score == pytest.approx(1, abs=1e-5)
        assert len(found.hits) == 12


def test_a_block_at_a_time_finds_the_same(runs, photos, tmp_path, monkeypatch):  # noqa: F811
    """What is in memory of a folder's vectors is a block; broken pictures among them move nothing."""
    folder = tmp_path / "with a broken one"
    shutil.copytree(photos, folder)
    (folder / "broken.png").write_bytes(b"no picture")
    whole = distillkit.search(runs["image"], image=photos / "hills/009.png", within=folder, top=9)
    looked = []
    monkeypatch.setattr("distillkit.search.nearest", lambda *given: looked.append(given[1].shape) or nearest(*given))
    monkeypatch.setattr("distillkit.search._BLOCK", 5)
    parts = distillkit.search(runs["image"], image=photos / "hills/009.png", within=folder, top=9)
    assert [shape[0] for shape in looked] == [5, 5, 2]
    assert [hit.key for hit in parts.hits] == [hit.key for hit in whole.hits] and parts.among == 12
    assert [hit.score for hit in parts.hits] == pytest.approx([hit.score for hit in whole.hits], abs=1e-6)


def test_the_teachers_rows_answer_from_a_store(runs, toy_stores):  # noqa: F811
    """Of a store nothing is computed but the query: the student asks, what the teacher said answers."""
    place, student = toy_stores / "out/images", distillkit.load_student(runs["pair"])
    store = FeatureStore(place)
    found = distillkit.search(student, "a circle", within=place, top=3)
    unit = torch.nn.functional.normalize(store.read("image", store.ok_rows).float())
    scores = (student.embed_texts(["a circle"], normalise=True) @ unit.T)[0]
    best = scores.topk(3)
    assert [hit.key for hit in found.hits] == store.values("key", store.ok_rows[best.indices.numpy()])
    torch.testing.assert_close(torch.tensor([hit.score for hit in found.hits]), best.values, rtol=1e-3, atol=1e-5)
    assert found.hits[0].path.is_file()
    teacher = distillkit.search(place, "a circle", within=place, top=1)  # the teacher itself asks
    text = store.read("text", store.ok_rows)
    assert teacher.among == len(store.ok_rows) and len(text)


def test_a_picture_with_several_captions_is_found_once(toy_stores, tmp_path, run_cli):
    recipe = tmp_path / "extract.toml"
    lines = [{"image": f"{n // 3:03d}.png", "text": f"a text {n}"} for n in range(12)]
    (tmp_path / "pairs.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    teacher = FeatureStore(toy_stores / "out/images").teacher("image")["model"]
    recipe.write_text(
        f'name = "toy"\nout = "{tmp_path}/out"\nteacher = {{ kind = "openclip", model = "{teacher}" }}\n[[corpora]]\n'
        f'name = "captioned"\nfields = ["image", "text"]\nsource = {{ kind = "jsonl", captions = "all", '
        f'file = "{tmp_path}/pairs.jsonl", image_field = "image", root = "{toy_stores}/corpus/images" }}\n'
    )
    code, _, err = run_cli("extract-teacher", recipe)
    assert code == 0, err
    store = tmp_path / "out/captioned"
    found = distillkit.search(store, "a circle", within=store, top=99)
    assert len(FeatureStore(store).ok_rows) == 12 and found.among == 4
    assert len({hit.path for hit in found.hits}) == len(found.hits) == 4
    assert "4 of 4 pictures" in run_cli("search", store, "a circle", "--in", store)[2]


def test_who_says_which_side_is_told(runs, photos, toy_stores, run_cli):  # noqa: F811
    """A student of images alone asks by its teacher's text tower; in a store, then, it has nothing to say."""
    store = toy_stores / "out/images"
    student, pair = str(runs["image"]), str(runs["pair"])
    asked, unasked = (("a circle", "--in", place) for place in (photos, store))
    err = run_cli("search", student, *asked)[2]
    assert f"vectors of the text by {student}: its teacher " in err and f"; of the pictures by {student}\n" in err
    assert "the student was not used" not in err
    err = run_cli("search", student, *unasked)[2]
    assert f"text by {student}: its teacher " in err and f"of the pictures by {store}: its teacher " in err
    assert f"{student}: the student was not used: its teacher embedded query and pictures" in err
    err = run_cli("search", pair, *unasked)[2]
    assert (
        f"of the text by {pair}; of the pictures by {store}: its teacher " in err
        and "the student was not used" not in err
    )
    err = run_cli("search", student, "--image", photos / "sea/000.png", "--in", store)[2]
    assert f"of the picture by {student}; of the pictures by {store}: its teacher " in err
    assert "the student was not used" not in run_cli("search", store, *unasked)[2]  # the teacher was meant


@pytest.fixture
def looked(monkeypatch):
    """How many pictures were looked at, each time."""
    counts, whole = [], kept.seen

    def counted(tower, pictures, **options):
        counts.append(len(pictures))
        return whole(tower, pictures, **options)

    monkeypatch.setattr(kept, "seen", counted)
    return counts


def test_a_second_search_looks_at_new_and_changed_pictures_only(runs, photos, looked, tmp_path):  # noqa: F811
    def search(who="image"):
        return distillkit.search(runs[who], "a circle", within=photos, top=99)

    first = search()
    assert looked == [12] and search().hits == first.hits and looked == [12]
    shutil.copy(photos / "sea/000.png", photos / "sea/new.png")
    changed = photos / "hills/009.png"
    shutil.copy(photos / "sea/001.png", changed)
    (photos / "sea/002.png").unlink()
    again = {hit.key: hit.score for hit in search().hits}
    assert looked == [12, 2] and len(again) == 12 and "sea/002.png" not in again
    assert again["hills/009.png"] == pytest.approx(again["sea/001.png"], abs=1e-5)
    assert again["sea/new.png"] == pytest.approx(again["sea/000.png"], abs=1e-5)
    os.utime(changed)
    search()
    assert looked == [12, 2, 1]
    search("pair")  # other weights: asked anew
    assert looked == [12, 2, 1, 12]
    (arrow,) = [path for path in (tmp_path / "cache/embeddings").rglob("*.arrow") if len(path.read_bytes())][:1]
    for path in (tmp_path / "cache/embeddings").rglob("*.*"):
        path.write_bytes(path.read_bytes()[:-40])
    assert search().among == 12 and looked[-1] == 12 and arrow.is_file()  # damaged: made again


def test_a_second_search_takes_milliseconds(runs, photos):  # noqa: F811
    student = distillkit.load_student(runs["image"])
    distillkit.search(student, "a circle", within=photos)
    times = []
    for _ in range(5):
        began = time.perf_counter()
        distillkit.search(student, "a circle", within=photos)
        times.append(time.perf_counter() - began)
    assert min(times) < 0.1, times


def test_a_kill_loses_a_minute_at_most(runs, photos, looked, monkeypatch):  # noqa: F811
    monkeypatch.setattr(kept, "_EVERY", -1.0)
    student, whole = distillkit.load_student(runs["image"]), kept.seen

    def killed(tower, pictures, **options):
        for number, part in enumerate(whole(tower, pictures, batch_size=4)):
            if number == 2:
                raise KeyboardInterrupt
            yield part

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(kept, "seen", killed)
        distillkit.search(student, "a circle", within=photos)
    distillkit.search(student, "a circle", within=photos)
    assert looked == [12, 4]


def test_a_first_search_tells_how_far_it_is(runs, photos, monkeypatch):  # noqa: F811
    monkeypatch.setattr("distillkit.system.progress._EVERY", 0.0)
    whole, said, again = kept.seen, [], []
    monkeypatch.setattr(kept, "seen", lambda tower, pictures, **options: whole(tower, pictures, batch_size=4))
    distillkit.search(runs["image"], "a circle", within=photos, say=said.append)
    assert any(re.search(r": pictures \d+/12  .*/s  .+ left$", line) for line in said), said
    distillkit.search(runs["image"], "a circle", within=photos, say=again.append)
    assert not any("left" in line for line in again)


def test_broken_pictures_are_counted_and_named(runs, photos, run_cli):  # noqa: F811
    (photos / "broken.jpg").write_bytes(b"")
    (photos / "notes.doc").write_text("x")
    found = distillkit.search(runs["image"], "a circle", within=photos)
    assert found.among == 12 and list(found.broken) == ["broken.jpg"] and "not an image" in found.broken["broken.jpg"]
    code, out, err = run_cli("search", runs["image"], "a circle", "--in", photos, "--top", 3)
    assert code == 0 and len(out.splitlines()) == 3 and "1 picture cannot be read, the first is broken.jpg: " in err
    assert "passed over: 1 .doc" in err and "3 of 12 pictures, in " in err
    line = json.loads(run_cli("search", runs["image"], "a circle", "--in", photos, "--json")[1].splitlines()[0])
    assert line["key"] == found.hits[0].key and line["path"] == str(found.hits[0].path)


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
def test_a_picture_that_a_disk_did_not_give_is_looked_at_again(runs, photos, looked, monkeypatch, number):  # noqa: F811
    """Neither its size nor its time change where the disk is well again; of a damaged one they do."""
    (photos / "broken.jpg").write_bytes(b"no picture")

    def search():
        return distillkit.search(runs["image"], "a circle", within=photos)

    def refusing(real):
        def call(file, *rest, **options):
            if str(file).endswith("003.png"):
                raise OSError(number, os.strerror(number), str(file))
            return real(file, *rest, **options)

        return call

    with monkeypatch.context() as disk:
        disk.setattr(Image, "open", refusing(Image.open))
        disk.setattr(Path, "read_bytes", refusing(Path.read_bytes))
        disk.setattr(Path, "open", refusing(Path.open))
        found = search()
        assert found.among == 11 and len(found.broken) == 2 and looked == [13]
        assert search().broken == found.broken and looked == [13, 1]
    assert search().among == 12 and search().broken.keys() == {"broken.jpg"} and looked == [13, 1, 1]


def test_the_page_carries_its_pictures(runs, photos, run_cli, tmp_path):  # noqa: F811
    page = tmp_path / "found.html"
    code, _, err = run_cli("search", runs["image"], "<b>circles</b>", "--in", photos, "--top", 4, "--page", page)
    html = page.read_text()
    assert code == 0 and f"next: open {page} in a browser" in err
    assert html.count("data:image/jpeg;base64,") == 4 and "http" not in html.replace("http-equiv", "")
    assert "<b>circles</b>" not in html and "&lt;b&gt;circles&lt;/b&gt;" in html and "4 nearest of 12 pictures" in html
    distillkit.search(runs["image"], image=photos / "sea/000.png", within=photos, page=page, top=2)
    assert page.read_text().count("data:image/jpeg;base64,") == 3 and "Like 000.png" in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"query": "a"}, "no such file or folder; name a folder of pictures"),
        ({"within": "photos"}, "give either a text or a picture"),
        ({"query": "a", "image": "a.png", "within": "photos"}, "give either a text or a picture"),
        ({"query": " ", "within": "photos"}, "the text is empty"),
        ({"query": "a", "within": "empty"}, "empty: no pictures in it (0 samples taken); name a folder that has some"),
        ({"query": "a", "within": "photos/sea/000.png"}, "name a folder of pictures, or a store, to search in"),
        ({"image": "gone.png", "within": "photos"}, "gone.png: no such file"),
    ],
)
def test_what_cannot_be_searched_is_one_line(runs, photos, arguments, told, monkeypatch):  # noqa: F811
    (photos.parent / "empty").mkdir()
    monkeypatch.chdir(photos.parent)
    with pytest.raises(DistillkitError) as refused:
        distillkit.search(runs["image"], **{"within": "nowhere"} | arguments)
    assert told in str(refused.value) and "\n" not in str(refused.value)


def test_spaces_that_are_not_one_are_refused(runs, photos, toy_stores, tmp_path):  # noqa: F811
    with pytest.raises(
        DistillkitError,
        match=r"the query's vector has 32 numbers, those of the pictures \d+, so they cannot be compared",
    ):
        distillkit.search(runs["own space"], "a circle", within=photos)
    other = make_run(tmp_path / "other", STUDENTS["pair"], toy_stores / "out", weights_sha256="0" * 64)
    with pytest.raises(StoreError, match=r"is of another teacher than .*other \(weights_sha256"):
        distillkit.search(other, "a circle", within=toy_stores / "out/images")
    with pytest.raises(StoreError, match="holds no image features"):
        distillkit.search(runs["pair"], "a circle", within=toy_stores / "out/texts")


def test_a_folder_of_broken_pictures_is_refused_by_name(runs, photos):  # noqa: F811
    folder = photos.parent / "all broken"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.png").write_bytes(b"x")
    with pytest.raises(SourceError, match=r"not one of 3 pictures can be read, as of 0\.png: not an image"):
        distillkit.search(runs["image"], "a circle", within=folder)


def test_the_students_own_store_is_searched_too(runs, photos, tmp_path):  # noqa: F811
    made = distillkit.embed(runs["pair"], photos, out=tmp_path / "own")
    one = distillkit.search(runs["pair"], "a circle", within=made.images, top=12)
    other = distillkit.search(runs["pair"], "a circle", within=photos, top=12)
    scores = [{hit.key: hit.score for hit in found.hits} for found in (one, other)]
    assert scores[0].keys() == scores[1].keys()
    assert np.allclose([scores[0][key] for key in scores[1]], list(scores[1].values()), atol=2e-3)


def test_a_hit_whose_name_is_no_utf_8_is_a_file_that_is_there(runs, photos, run_cli, tmp_path):  # noqa: F811
    folder = tmp_path / os.fsdecode(b"all\xfe")
    shutil.copytree(photos, folder)
    one = folder / os.fsdecode(b"caf\xe9.png")
    (folder / "sea/000.png").rename(one)
    for _ in range(2):  # looked at, and kept
        found = distillkit.search(runs["image"], image=one, within=folder, top=99, page=tmp_path / "found.html")
        assert len(found.hits) == 12 and all(hit.path.is_file() for hit in found.hits)
        assert [hit.path for hit in found.hits if hit.key == "caf\\xe9.png"] == [one]
    page = (tmp_path / "found.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 13 and "caf\\xe9.png" in page
    code, out, _ = run_cli("search", runs["image"], "a circle", "--in", folder, "--json", "--top", 99)
    assert code == 0 and all(Path(json.loads(line)["path"]).is_file() for line in out.splitlines())
