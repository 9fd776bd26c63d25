"""Several stores in one batch, several teachers in one objective, views replayed as they were stored."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from distillkit.errors import RecipeError, SourceError, StoreError, TrainError
from distillkit.pixels import decode, jpegs, render
from distillkit.pixels.mixing import drawn
from distillkit.pixels.tensors import decode_tensor
from distillkit.pixels.views import unpacked
from distillkit.recipe import Also, Augment, Data, Mixed, Term
from distillkit.recipe.registry import resolve
from distillkit.store.reading.reader import FeatureStore
from distillkit.training.batches import Batches
from distillkit.training.objective import Objective
from distillkit.training.pixels import Pixels
from distillkit.training.ranks import Ranks
from distillkit.types import Features, Widths
from tests.conftest import draw, make_teacher
from tests.teachers.test_timm import make_dino

STUDENT = SimpleNamespace(image_size=16)


@pytest.fixture
def extract(tmp_path, corpus, teacher_folder, run_cli):
    """A store over the toy images, or over others: its path."""

    def run(name, *, folder=corpus, kind="openclip", model=teacher_folder, fields='["image", "text"]', more=""):
        recipe = tmp_path / f"{name}.toml"
        recipe.write_text(
            f'name = "toy"\nout = "{tmp_path}/{name}"\n[teacher]\nkind = "{kind}"\nmodel = "local-dir:{model}"\n'
            + ("image_size = 28\ngrid = 1\n" if kind == "timm" else "")
            + f'[[corpora]]\nname = "images"\nsource = {{ kind = "csv", file = "{folder}/pairs.tsv" }}\n'
            f"fields = {fields}\nrows_per_shard = 1024\nbatch_size = 16\n{more}"
        )
        code, _, err = run_cli("extract-teacher", recipe)
        assert code == 0, err
        return tmp_path / name / "images"

    return run


@pytest.fixture(scope="module")
def dino(tmp_path_factory):
    return make_dino(tmp_path_factory.mktemp("images") / "dino", pixels=56)


# Several stores.


def test_weights_share_out_a_batch_and_captions_stay_with_their_images(extract, tmp_path):
    one, two = extract("one"), extract("two", folder=draw(tmp_path / "other", 30, seed=1))
    mix = [Mixed(images=str(one), weight=2.0), Mixed(images=str(two))]
    batches = Batches(Data(mix=mix, captions="paired", batch_size=12), 0, STUDENT)
    assert [images.share for images in batches.ingredients.images] == [8, 4] and batches.steps_per_epoch == 70 // 8
    batch = batches.at(5)
    assert batch.match.tolist() == list(range(12)) and batch.pixels.shape == (12, 3, 16, 16)
    for store, part in ((FeatureStore(one), slice(0, 8)), (FeatureStore(two), slice(8, 12))):
        rows = store.rows_of(list(batch.keys[part]))
        assert torch.equal(batch.teacher.image[part], store.read("image", rows))
        assert torch.equal(batch.teacher.text[part], store.read("text", rows))


def test_ranks_share_a_mixed_batch(extract, tmp_path):
    one, two = extract("one"), extract("two", folder=draw(tmp_path / "other", 30, seed=1))
    data = Data(mix=[Mixed(images=str(one)), Mixed(images=str(two), weight=3.0)], captions="paired", batch_size=12)
    whole = Batches(data, 0, STUDENT).at(3)
    parts = [next(Batches(data, 0, STUDENT, Ranks(rank, 3)).stream(3, 4)) for rank in range(3)]
    assert sum((part.keys for part in parts), ()) == whole.keys
    assert torch.equal(torch.cat([part.pixels for part in parts]), whole.pixels)
    assert torch.equal(torch.cat([part.teacher.text for part in parts]), whole.teacher.text)
    assert all(part.match.tolist() == list(range(4)) for part in parts)


def test_a_share_in_whole_images_that_misses_its_weight_is_told(extract, tmp_path):
    one, two = extract("one"), extract("two")
    mix = [Mixed(images=str(one)), Mixed(images=str(two)), Mixed(images=str(one))]
    _, told, _ = Batches(Data(mix=mix, batch_size=4), 0, STUDENT).ingredients.notes
    assert told.startswith(f"{two}: gets 2 of the 4 images of a batch, 50%, where its weight asks for 33.3%; raise")
    assert not Batches(Data(mix=mix, batch_size=12), 0, STUDENT).ingredients.notes


@pytest.mark.parametrize(
    ("mix", "error", "message"),
    [
        ([1.0, 1e-6], RecipeError, "gets no image of a batch of 12; raise its weight"),
        ([1e-6, 1.0], RecipeError, "gets no image of a batch of 12; raise its weight"),
        ([1.0, 1000.0], TrainError, "no batch of [0-9]+ from"),
    ],
)
def test_weights_that_leave_nothing(extract, tmp_path, mix, error, message):
    one = str(extract("one"))
    size = 12 if error is RecipeError else 2000
    mixed = [Mixed(images=one, weight=weight) for weight in mix]
    with pytest.raises(error, match=message):
        Batches(Data(mix=mixed, batch_size=size), 0, STUDENT)


def test_stores_of_two_teachers_do_not_mix(extract, tmp_path):
    other = make_teacher(tmp_path / "teacher", seed=1)
    mix = [Mixed(images=str(extract("one"))), Mixed(images=str(extract("two", model=other)))]
    with pytest.raises(StoreError, match="made by different teachers"):
        Batches(Data(mix=mix, batch_size=12), 0, STUDENT)


# Several teachers.


def test_a_term_learns_from_the_teacher_it_names(extract, dino, tmp_path, corpus):
    """CLIP and DINO, extracted apart, over corpora of which each has images that the other lacks."""
    clip = extract("clip")
    lines = (corpus / "pairs.tsv").read_text().splitlines()
    (corpus / "images/new.png").write_bytes((corpus / "images/000.png").read_bytes())
    (corpus / "pairs.tsv").write_text("\n".join([lines[0], *lines[11:], "new\timages/new.png"]) + "\n")
    seen = extract("dino", kind="timm", model=dino, fields='["cls", "patches"]')
    data = Data(images=str(clip), also={"dino": Also(images=str(seen))}, batch_size=10)
    batches = Batches(data, 0, STUDENT)
    assert batches.notes == [f"data.also.dino: 10 of 70 keys of {clip} are missing in {seen}, 1 of its 61 are not used"]
    given = batches.ingredients
    assert batches.steps_per_epoch == 6 and given.other_widths == {"dino": {"cls": 32, "patches": 32}}
    widths = Widths({"image": 32}, given.teacher_widths, given.other_widths)
    terms = [
        Term(kind="feature_regression"),
        Term(kind="feature_regression", field="cls", teacher="dino", name="D"),
    ]
    widths = Widths({"image": 32, "cls": 32}, given.teacher_widths, given.other_widths)
    objective = Objective(terms, widths)
    assert {"teacher.image", "dino.cls"} <= objective.needs and "teacher.cls" not in objective.needs
    batches.narrow(objective.needs)
    batch = batches.at(2)
    store = FeatureStore(seen)
    assert torch.equal(batch.others["dino"].cls, store.read("cls", store.rows_of(list(batch.keys))))
    assert batch.others["dino"].patches is None and batch.teacher.cls is None
    said = Features(image=batch.teacher.image.float(), cls=batch.others["dino"].cls.float())
    _, values = objective(batch, said)
    assert values["D"] < 1e-6 and values["feature_regression"] < 1e-6


def test_teachers_without_a_key_in_common_are_refused(extract, dino, tmp_path):
    other = draw(tmp_path / "other", 5)
    for number in range(5):
        (other / f"images/{number:03d}.png").rename(other / f"images/x{number}.png")
    table = (other / "pairs.tsv").read_text().replace("images/00", "images/x")
    (other / "pairs.tsv").write_text(table)
    seen = extract("dino", folder=other, kind="timm", model=dino, fields='["cls"]')
    data = Data(images=str(extract("clip")), also={"dino": Also(images=str(seen))}, batch_size=4)
    with pytest.raises(RecipeError, match="shares no key with"):
        Batches(data, 0, STUDENT)


# Views.


def test_stored_views_are_replayed_with_their_features(extract, corpus):
    more = "[corpora.views]\ncount = 3\nscale = [0.3, 0.9]\nflip = 0.5\n"
    store = FeatureStore(extract("views", fields='["image"]', more=more))
    data = Data(images=str(store.path), views="stored", batch_size=70, augment=Augment(interpolation="bicubic"))
    batches = Batches(data, 0, STUDENT)
    seen = {}
    for epoch in range(3):
        batch = batches.at(epoch)
        rows = store.rows_of(list(batch.keys))
        for place in (0, 30, 69):
            key, row = batch.keys[place], rows[place : place + 1]
            said = store.read("image", row)[0]
            (view,) = [v for v in range(3) if torch.equal(batch.teacher.image[place], said[v])]
            seen.setdefault(key, []).append(view)
            with Image.open(corpus / store.values("image", row)[0]) as image:
                shown = render(image.convert("RGB"), unpacked(store.read("views/parameters", row)[0, view].numpy()), 16)
            assert np.array_equal(batch.pixels[place].numpy(), shown)
    assert all(len(set(views)) == len(views) for views in seen.values())
    own = Batches(data.model_copy(update={"views": "own"}), 0, STUDENT).at(0)
    assert torch.equal(own.teacher.image, store.read("image", store.rows_of(list(own.keys)), view=0))


def test_views_that_no_store_has(extract):
    with pytest.raises(RecipeError, match=r"data.views: .* keeps no views; extract it with \[corpora.views\]"):
        Batches(Data(images=str(extract("plain")), views="stored", batch_size=4), 0, STUDENT)


# Pixels.


def test_fixed_crops_come_out_of_the_cached_squares(extract):
    store = extract("one")
    augment = Augment(crop="fixed", resample="torchvision", flip=0.0)
    data = Data(images=str(store), pixel_cache=24, augment=augment, batch_size=8)
    batches = Batches(data, 0, STUDENT)
    batch = batches.at(0)
    pixels: Pixels = batches.rendering.pixels[0]
    rows = pixels.images.store.rows_of(list(batch.keys))
    square = pixels.opened.pixels[rows[0]].transpose(2, 0, 1)
    windows = np.lib.stride_tricks.sliding_window_view(square, (3, 16, 16))[0]
    assert any(np.array_equal(window, batch.pixels[0].numpy()) for line in windows for window in line)
    small = data.model_copy(update={"pixel_cache": 12})
    with pytest.raises(SourceError, match=r"12 x 12 pixels, the student wants 16"):
        Batches(small, 0, STUDENT).at(0)


RAND = "[corpora.views]\ncount = 2\nclean_first = false\nscale = [0.3, 0.9]\nflip = 0.5\nrandaugment = {}\n"


@pytest.mark.parametrize("resample", ["pillow", "torchvision"])
@pytest.mark.parametrize(
    ("cache", "crop", "views"), [(None, "resized", "stored"), (24, "resized", "own"), (24, "fixed", "own")]
)
def test_a_device_makes_the_pixels_that_workers_make(extract, resample, cache, crop, views):
    """Views with and without operations, of files and of squares; shared by ranks, in threads."""
    store = extract("one", fields='["image"]', more=RAND)
    augment = Augment(crop=crop, resample=resample)
    data = Data(images=str(store), pixel_cache=cache, augment=augment, views=views, batch_size=24, workers=2)
    plain = list(Batches(data, 0, STUDENT).stream(0, 2))
    ranks = [Batches(data.model_copy(update={"render": "device"}), 0, STUDENT, Ranks(rank, 2)) for rank in (0, 1)]
    for batches in ranks:
        batches.go_to(torch.device("cpu"))
    for one, *parts in zip(plain, *(batches.stream(0, 2, 1) for batches in ranks), strict=True):
        asked = [batches.at(one.step) for batches in ranks]
        assert one.crops is None and all(part.pixels is None and part.crops is not None for part in asked)
        assert torch.equal(torch.cat([part.pixels for part in parts]), one.pixels) and parts[0].crops is None


def test_a_gpu_decodes_for_a_student(extract, corpus, monkeypatch):
    """A decoder on the CPU stands in for the GPU's: the pixels are those of torchvision's path, mixed or not."""
    for number in range(0, 70, 2):
        path = corpus / f"images/{number:03d}.png"
        Image.open(path).save(path, "JPEG")
    store, cpu, decoded = extract("one"), torch.device("cpu"), []
    fast = Data(images=str(store), augment=Augment(resample="torchvision", mixup=0.5), batch_size=20, workers=2)
    data = fast.model_copy(update={"augment": Augment(resample="nvjpeg", mixup=0.5)})
    with pytest.raises(RecipeError, match='"nvjpeg" decodes on an NVIDIA GPU, here is cpu; take "torchvision"'):
        Batches(data, 0, STUDENT).go_to(cpu)
    with pytest.raises(RecipeError, match=r"call go_to\(device\) first"):
        Batches(data, 0, STUDENT).at(0)
    with pytest.raises(ValidationError, match="a pixel_cache is decoded already; leave one out"):
        Data(**data.model_dump() | {"pixel_cache": 24})
    monkeypatch.setattr("distillkit.training.rendering.no_gpu", lambda device: None)
    monkeypatch.setattr(
        jpegs, "decode_on", lambda _, data: decoded.extend(data) or [decode_tensor(one) for one in data]
    )
    batches = Batches(data, 0, STUDENT)
    batches.go_to(cpu)
    assert "nvjpeg decodes JPEGs" in batches.notes[0]
    for one, other in zip(batches.stream(0, 3, 2), Batches(fast, 0, STUDENT).stream(0, 3), strict=True):
        assert torch.equal(one.to(cpu).pixels, other.pixels)
    assert 20 < len(decoded) < 40
    whole = (corpus / "images/002.png").read_bytes()
    for number in range(0, 70, 2):
        (corpus / f"images/{number:03d}.png").write_bytes(whole[:300] + b"\xff\xd9")
    with pytest.raises(SourceError, match=r"\.png: could be read when its features were extracted, now: "):
        batches.at(0)


@pytest.mark.parametrize("render", ["workers", "device"])
def test_any_number_of_ranks_mixes_the_same_pairs(extract, tmp_path, render):
    one, two = extract("one"), extract("two", folder=draw(tmp_path / "other", 30, seed=1))
    mix = [Mixed(images=str(one)), Mixed(images=str(two), weight=2.0)]
    augment = Augment(mixup=0.8, cutmix=1.0)
    data = Data(mix=mix, augment=augment, batch_size=12, render=render)
    plain = Batches(data.model_copy(update={"augment": Augment()}), 0, STUDENT)
    cpu = torch.device("cpu")
    for step in range(4):
        drawn_mix = drawn(augment, 0, step, 16)
        wanted = drawn_mix(plain.at(step).pixels)
        assert not torch.equal(wanted, plain.at(step).pixels)
        for world in (1, 2, 3):
            ranks = [Batches(data, 0, STUDENT, Ranks(rank, world)) for rank in range(world)]
            for batches in ranks:
                batches.go_to(cpu)
            parts = [batches.at(step).to(cpu) for batches in ranks]
            assert torch.equal(torch.cat([part.pixels for part in parts]), wanted)
            assert {part.own_share for part in parts} == {drawn_mix.share}


def test_pairs_are_not_parted(extract):
    data = Data(images=str(extract("one")), augment=Augment(mixup=1.0), batch_size=12)
    with pytest.raises(TrainError, match=r"each of 4 processes has 3 of data.batch_size = 12; make that even"):
        Batches(data, 0, STUDENT, Ranks(0, 4))


def test_a_device_that_makes_other_bytes_makes_none(extract, monkeypatch):
    monkeypatch.setattr("distillkit.training.rendering.same_on", lambda *asked: False)
    batches = Batches(Data(images=str(extract("one")), batch_size=8, render="device"), 0, STUDENT)
    batches.go_to(torch.device("cpu"))
    assert batches.at(0).pixels is not None and "workers make them" in batches.notes[0]


def test_batches_made_ahead_are_the_same(extract):
    batches = Batches(Data(images=str(extract("one")), batch_size=16, workers=2), 0, STUDENT)
    for ahead, stop in ((0, 6), (1, 6), (3, 6), (None, 41)):
        made = list(batches.stream(1, stop, ahead))
        assert [batch.step for batch in made] == [*range(1, stop)]
        assert all(torch.equal(batch.pixels, batches.at(batch.step).pixels) for batch in made)


VIEWS = "[corpora.views]\ncount = 3\nclean_first = false\nscale = [0.3, 0.9]\nflip = 0.5\n"
STILL = Augment(scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0, interpolation="bicubic")


def two_teachers(tmp_path, corpus, teacher_folder, dino, run_cli, more):
    recipe = tmp_path / "two.toml"
    recipe.write_text(
        f'name = "toy"\nout = "{tmp_path}/two"\n[[teachers]]\nname = "clip"\nkind = "openclip"\n'
        f'model = "local-dir:{teacher_folder}"\n[[teachers]]\nname = "dino"\nkind = "timm"\n'
        f'model = "local-dir:{dino}"\nimage_size = 28\n[[corpora]]\nname = "images"\n'
        f'source = {{ kind = "csv", file = "{corpus}/pairs.tsv" }}\n'
        'fields = ["clip/image", "dino/cls", "dino/patches"]\n'
        f"rows_per_shard = 1024\nbatch_size = 16\n{more}"
    )
    code, _, err = run_cli("extract-teacher", recipe)
    assert code == 0, err
    return tmp_path / "two/images"


def test_a_further_teacher_looked_at_the_views_that_the_student_sees(tmp_path, corpus, teacher_folder, dino, run_cli):
    path = str(two_teachers(tmp_path, corpus, teacher_folder, dino, run_cli, VIEWS))
    data = Data(images=path, teacher="clip", also={"dino": Also(teacher="dino")}, views="stored", batch_size=70)
    batches, store = Batches(data, 0, STUDENT), FeatureStore(path, "dino")
    batches.narrow({"teacher.image", "dino.cls", "dino.patches"})
    assert batches.notes == []
    for epoch in range(3):
        batch = batches.at(epoch)
        rows = store.rows_of(list(batch.keys))
        views = batches.ingredients.images[0].shown(epoch, rows).views
        assert len(np.unique(views)) == 3
        for field in ("cls", "patches"):
            assert torch.equal(getattr(batch.others["dino"], field), store.read(field, rows, view=views))


@pytest.mark.parametrize("more", ["", VIEWS.replace("0.3", "0.5")])
def test_a_further_teacher_that_looked_at_other_views_is_told(extract, dino, more):
    one = str(extract("clip", more=VIEWS))
    other = str(extract("dino", kind="timm", model=dino, fields='["cls"]', more=more))
    data = Data(images=one, also={"dino": Also(images=other)}, views="stored", batch_size=8)
    batches = Batches(data, 0, STUDENT)
    batches.narrow({"teacher.image", "dino.cls"})
    whose = "first" if more else "clean"
    assert batches.notes == [
        f"data.also.dino: {other} keeps other views than {one}; what it says is of its {whose} view, whatever view the "
        "student is shown"
    ]


def test_patches_lie_over_what_their_teacher_saw_of_an_image(extract, dino, corpus, tmp_path):
    """One keeps 80 % of the short side, one squeezes all of the image into its square."""
    squash = make_teacher(tmp_path / "squash")
    config = json.loads((squash / "open_clip_config.json").read_text())
    config["preprocess_cfg"] = {"resize_mode": "squash"}
    (squash / "open_clip_config.json").write_text(json.dumps(config))
    for kind, folder, size in (("timm", dino, 28), ("openclip", squash, 32)):
        path = str(extract(kind, kind=kind, model=folder, fields='["patches"]'))
        batches = Batches(Data(images=path, batch_size=70, augment=STILL), 0, SimpleNamespace(image_size=size))
        batches.narrow({"teacher.patches"})
        batch = batches.at(0)
        knobs = {"image_size": 28} if kind == "timm" else {}
        teacher = resolve("teachers", kind)(model=f"local-dir:{folder}", device="cpu", **knobs)
        seen = torch.stack([teacher.preprocess(decode(corpus / key)) for key in batch.keys])
        assert (seen.int() - batch.pixels.int()).abs().max() <= 1
        batches.narrow({"teacher.image"})  # which goes with the centred square as well as ever
        assert (seen.int() - batches.at(0).pixels.int()).abs().float().mean() > 10


def test_of_drawn_views_alone_the_first_is_shown_with_its_patches(extract, dino, corpus):
    path = extract("dino", kind="timm", model=dino, fields='["cls", "patches"]', more=VIEWS)
    batches = Batches(Data(images=str(path), batch_size=70, augment=STILL), 0, SimpleNamespace(image_size=28))
    batches.narrow({"teacher.patches"})
    batch, store = batches.at(0), FeatureStore(path)
    assert batches.notes == [f'{path}: features are of its first view, which was drawn; data.views = "stored" shows it']
    rows = store.rows_of(list(batch.keys))
    drawn = store.read("views/parameters", rows, view=np.zeros(70, np.int64)).numpy()
    for key, row, pixels in zip(batch.keys, drawn, batch.pixels, strict=True):
        assert np.array_equal(render(decode(corpus / key), unpacked(row), 28, "bicubic"), pixels.numpy())
