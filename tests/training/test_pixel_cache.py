"""The pixel cache in both formats: what it gives, what it takes, and what a plan says of it before it is there."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from distillkit.errors import StoreError
from distillkit.originals import Originals
from distillkit.pixels import decode
from distillkit.recipe import Augment, Data
from distillkit.system import progress
from distillkit.training import pixel_cache
from distillkit.training.batches import Batches
from distillkit.training.pixel_cache import Cached, place
from distillkit.training.pixel_costs import PixelCosts
from distillkit.training.pixels import Pixels
from tests.bench.pictures import picture_store

SIZE, STUDENT = 64, SimpleNamespace(image_size=48)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return picture_store(tmp_path_factory.mktemp("photos"), 12)


def rendered(store, cache, form="raw", resample="pillow") -> Pixels:
    data = Data(
        images=str(store.path),
        batch_size=4,
        workers=2,
        pixel_cache=cache,
        pixel_cache_format=form,
        augment=Augment(resample=resample),
    )
    return Batches(data, 0, STUDENT).rendering.pixels[0]


def pixels(made):
    return made.made(made.images.shown(3, np.arange(12))).numpy().astype(float)


@pytest.mark.parametrize("resample", ["pillow", "torchvision"])
def test_jpegs_are_the_squares_but_for_a_few_levels_in_a_part_of_the_room(store, resample):
    raw, jpeg = (pixels(rendered(store, SIZE, form, resample)) for form in ("raw", "jpeg"))
    assert 0 < np.abs(raw - jpeg).mean() < 4
    sizes = {form: sum(f.stat().st_size for f in place(store, SIZE, form).iterdir()) for form in ("raw", "jpeg")}
    assert sizes["jpeg"] < 0.5 * sizes["raw"]


def test_every_row_is_its_own_image_and_knows_its_first_shape(store):
    files = Originals(store, None)
    cached = Cached(store, files, SIZE, "jpeg", 2)
    for row in range(12):
        image, width, height = cached.open(row)
        assert (width, height) == (500, 375) and image.size == (SIZE, SIZE)
        small = decode(store.root / files.names[row].as_py()).resize((SIZE, SIZE))
        assert np.abs(np.asarray(image, float) - np.asarray(small, float)).mean() < 12


def test_rows_without_an_image_are_left_out(store, monkeypatch):
    monkeypatch.setattr(type(store), "ok_rows", np.array([1, 2, 7, 10]))
    cached = Cached(store, Originals(store, None), 32, "jpeg", 2)
    lengths = np.diff(cached.ends)
    assert set(np.flatnonzero(lengths)) == {1, 2, 7, 10} and cached.ends[-1] == len(cached.pixels)
    assert cached.open(7)[1:] == (500, 375)


def test_costs_are_told_before_there_is_a_cache(store):
    def told(cache, form="raw"):
        return PixelCosts(rendered(store, cache, form)).report(1_000_000, 5_000_000)

    before = set(store.path.parent.iterdir())
    usual = told(None)
    assert set(store.path.parent.iterdir()) == before
    assert len(usual) == 3 and "ms of a core an image" in usual[0] and "from the originals" in usual[0]
    assert (
        "55 px raw (data.pixel_cache = 55): 9.07 GB of" in usual[1]
        and "made in" in usual[1]
        and "asks" not in "".join(usual)
    )
    room = [float(re.search(r": ([\d.]+) GB of", line)[1]) for line in usual[1:]]
    spent = [
        float(re.search(r"([\d.]+) ms", line)[1]) for line in (usual[0], *(line.split("then")[1] for line in usual[1:]))
    ]
    assert room[1] < 0.6 * room[0] and spent[1] < spent[0] and spent[2] < spent[0]
    mine = told(SIZE, "jpeg")
    assert "is there" in mine[2] and mine[2].endswith("; the recipe asks for it") and "the recipe" not in mine[1]


def test_a_cache_that_takes_long_says_how_far_it_is(store, monkeypatch):
    monkeypatch.setattr(progress, "_EVERY", 0.0)
    said = []
    Cached(store, Originals(store, None), 40, "raw", 1, said.append)
    assert said and said[0].startswith(f"{place(store, 40, 'raw')}: images 1/12  ") and said[-1].endswith("s left")


def test_two_runs_at_once_make_one_cache(store, monkeypatch):
    """Kind: who makes a folder beside another who makes it. The second waits, and takes what the first made."""
    filled, fill = [], pixel_cache._fill_raw
    monkeypatch.setattr(pixel_cache, "_fill_raw", lambda *given: (filled.append(1), time.sleep(0.2), fill(*given)))
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: Cached(store, Originals(store, None), 24, "raw", 1), range(2))
    assert len(filled) == 1 and np.array_equal(one.pixels, other.pixels) and one.pixels.any()
    assert not [path for path in store.path.parent.iterdir() if path.name.endswith("pixels-24.lock")]


@pytest.mark.parametrize("name", ["shapes.npy", "pixels.npy", "ends.npy"])
@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY\x01\x00", b"no array at all", None])
def test_a_damaged_cache_is_one_line(store, name, damage):
    form = "jpeg" if name == "ends.npy" else "raw"
    files = Originals(store, None)
    Cached(store, files, SIZE, form, 2)
    path = place(store, SIZE, form) / name
    whole = path.read_bytes()
    path.unlink()
    if damage is not None:
        path.write_bytes(damage)
    with pytest.raises(StoreError, match=r"a damaged cache \(.*\); delete it") as told:
        Cached(store, files, SIZE, form, 2)
    assert "\n" not in str(told.value)
    path.write_bytes(whole)


def test_a_cache_whose_record_is_damaged_is_made_again(store):
    files = Originals(store, None)
    Cached(store, files, SIZE, "raw", 2)
    record = place(store, SIZE, "raw") / "cache.json"
    whole = record.read_bytes()
    record.write_bytes(whole[:7])
    Cached(store, files, SIZE, "raw", 2)
    assert record.read_bytes() == whole
