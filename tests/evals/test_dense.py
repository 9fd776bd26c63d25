"""Dense probes on maps that one can read: a patch says its class, or its depth."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, ImageOps

from distillkit.errors import RecipeError, StoreError
from distillkit.evals._encode import Tokens
from distillkit.evals._maps import over_the_square
from distillkit.evals._masks import Masks
from distillkit.evals.linear_depth import LinearDepth
from distillkit.evals.linear_segmentation import LinearSegmentation
from distillkit.evals.patch_knn import PatchKnn
from distillkit.pixels import centre_view
from distillkit.pixels.pillow import Header
from distillkit.system.progress import heard_by
from distillkit.types import View
from tests.evals.few_bits import write_grey
from tests.evals.worlds import Store, run

GRID, SIDE, IMAGES = 4, 16, 12
KEYS = [f"pictures/{n}.jpg" for n in range(IMAGES)]


class Sees:
    """Says of each patch what lies in it, as a direction with some noise; `blind` says noise alone."""

    device = torch.device("cpu")

    def __init__(self, answers, blind=False):
        random = torch.Generator().manual_seed(0)
        cells = torch.from_numpy(answers).reshape(IMAGES, GRID, SIDE // GRID, GRID, SIDE // GRID).float().mean((2, 4))
        of = 0 if blind else cells.flatten(1)[..., None]
        noise = torch.randn(IMAGES, GRID * GRID, 6, generator=random)
        self.maps = 0.05 * noise + of * torch.tensor([1.0, -1, 0, 0, 0, 0]) + torch.tensor([0, 0, 0.3, 0, 0, 0])
        self.asked = []

    def tokens(self, store, rows, *, cls):
        self.asked += rows.tolist()
        return Tokens(self.maps[torch.as_tensor(rows)], torch.ones(len(rows), 2) if cls else None)


def both():
    """All images to learn from, and to be asked about."""
    return dict.fromkeys(("others", "images"), Store([0] * IMAGES, keys=KEYS))


@pytest.fixture
def masks(tmp_path):
    """Write an array of numbers [n, h, w] as PNGs by key; returns the folder."""

    def write(numbers, dtype=np.uint8):
        for key, one in zip(KEYS, numbers, strict=True):
            path = tmp_path / "masks" / key.replace(".jpg", ".png")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(one.astype(dtype)).save(path)
        return str(tmp_path / "masks")

    return write


@pytest.fixture
def squares():
    """Each picture has one square of figure, on whole patches."""
    random = np.random.default_rng(0)
    found = np.zeros((IMAGES, SIDE, SIDE), np.int64)
    for one in found:
        y, x = random.integers(0, 3, 2) * 4
        one[y : y + 8, x : x + 8] = 1
    return found


KNOBS = {"train": "others", "store": "images", "classes": 2, "side": SIDE}
PROBES = [
    lambda masks, **more: LinearSegmentation(**KNOBS, masks=masks, steps=150, batch=6, rate=0.05, **more),
    lambda masks, **more: PatchKnn(**KNOBS, masks=masks, k=5, **more),
]
probes = pytest.mark.parametrize("probe", PROBES, ids=["linear", "patch_knn"])


@probes
def test_maps_that_say_it_are_segmented_and_others_are_not(probe, masks, squares):
    """Learned from half of the images, asked about the others: a patch is its own nearest neighbour."""
    folder, images, others = masks(squares), Store([0] * IMAGES, keys=KEYS), Store([0] * IMAGES, keys=KEYS)
    images.ok_rows, others.ok_rows = np.arange(6), np.arange(6, IMAGES)
    stores = {"images": others, "others": images}
    found = run(probe(folder), Sees(squares), **stores)
    assert found["mIoU"] > 0.75 and found["IoU per image"] > 0.75 and found["pixels right"] > 0.85
    assert found["mIoU.low"] <= found["mIoU"] <= found["mIoU.high"] and found["pixels right.chance"] == 0.5
    ground = (squares[6:] == 0).mean()
    assert found["pixels right.majority"] == pytest.approx(max(ground, 1 - ground)) and ground != 0.5
    blind = run(probe(folder), Sees(squares, blind=True), **stores)
    assert blind["mIoU"] < 0.6 < found["mIoU"]


@probes
def test_what_is_no_class_is_not_counted(probe, masks, squares):
    """Half of each picture unknown, and classes counted from 3: the numbers are those of the known half."""
    numbers = squares + 3
    numbers[:, :, SIDE // 2 :] = 255
    found = run(probe(masks(numbers), first_class=3), Sees(squares), **both())
    assert found["mIoU"] > 0.75
    with pytest.raises(StoreError, match=r"a pixel is 3, and the classes are 0 to 1; .*ignore = \[3\]"):
        run(probe(masks(numbers)), Sees(squares), **both())
    with pytest.raises(StoreError, match="no pixel of any image has a class"):
        run(probe(masks(numbers * 0 + 255)), Sees(squares), **both())


def test_a_head_is_learned_alike_each_time_and_nobodys_random_numbers_move(masks, squares):
    folder, sees = masks(squares), Sees(squares)
    before = torch.get_rng_state()
    one, other = (run(PROBES[0](folder), sees, **both()) for _ in range(2))
    assert one == other and (torch.get_rng_state() == before).all()
    assert sorted(sees.asked) == sorted([*range(IMAGES)] * 4)  # maps that fit into memory are asked for once


def test_depth_is_learned_in_metres_and_what_is_unknown_is_left_out(masks, squares):
    """Squares at 1 m before a wall at 4 m, in millimetres; a column without a measure, one beyond the farthest."""
    depths = np.where(squares > 0, 1000, 4000)
    depths[:, :, 0], depths[:, :, 1] = 0, 20_000
    knobs = {"train": "images", "store": "images", "masks": masks(depths, np.uint16), "side": SIDE}
    images = Store([0] * IMAGES, keys=KEYS)
    depth = LinearDepth(**knobs, bins=8, steps=200, batch=6, rate=0.1)
    found = run(depth, Sees(squares), images=images)
    blind = run(depth, Sees(squares, blind=True), images=images)
    assert found["RMSE"] < 0.9 < 1.2 < blind["RMSE"] and found["within 25 %"] > 0.6
    assert found["RMSE.low"] <= found["RMSE"] <= found["RMSE.high"]
    with pytest.raises(StoreError, match=r"no pixel of toy has a depth up to 0\.5 m"):
        run(LinearDepth(**knobs, steps=1, farthest=0.5), Sees(squares), images=images)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("size", [(60, 40), (40, 60), (40, 40)])
@pytest.mark.parametrize("box", [None, (0.0, 0.0, 1.0, 1.0), (0.3, 0.2, 0.8, 0.9)])
def test_patches_are_put_where_they_lie_in_the_largest_square(size, box, flip):
    """Of an image whose pixels say where they are, so that what lies between patches is known."""
    view = View(box or centre_view(*size).box, flip)

    def places(box):
        left, top, right, bottom = box
        cells = (torch.arange(8) + 0.5) / 8
        return torch.stack(torch.meshgrid(left + cells * (right - left), top + cells * (bottom - top), indexing="xy"))

    seen, wanted = places(view.box), places(centre_view(*size).box)
    low, high = seen.amin((1, 2))[:, None, None], seen.amax((1, 2))[:, None, None]
    found = over_the_square((seen.flip(2) if flip else seen)[None], [view], [size])[0]
    assert torch.allclose(found, wanted.clamp(low, high), atol=1e-6)


@pytest.mark.parametrize("kind", [LinearSegmentation, PatchKnn])
def test_of_who_looked_at_another_part_masks_lie_over_that(kind, masks):
    """All of a wide picture, squeezed: half of its patches lie beside the square that masks are."""
    numbers = np.random.default_rng(0).integers(0, 2, (IMAGES, 4, 4)).repeat(8, 1).repeat(16, 2)
    sees = Sees(np.ascontiguousarray(numbers[:, ::2, ::4]))
    knobs = {"train": "others", "store": "images", "masks": masks(numbers), "classes": 2, "side": 32}
    knobs |= {"steps": 300} if kind is LinearSegmentation else {"k": 3}

    def right():
        (answers,) = kind(**knobs).run(sees, both().__getitem__)
        return answers.columns["right"].mean()

    before = right()
    sees.looked = lambda store, rows: lambda n, width, height: View()
    assert max(before + 0.05, 0.85) < right()


def test_masks_are_cut_as_images_are(masks, tmp_path):
    wide = np.arange(8)[None, None].repeat(4, 1).repeat(IMAGES, 0)
    cut = Masks(Store([0] * IMAGES, keys=KEYS), masks(wide), 2).of(np.array([0]))
    assert cut.tolist() == [[[3, 5], [3, 5]]]  # columns 2 to 5 of 8, each the nearest to the middle of its half


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_a_grey_mask_of_few_bits_says_its_numbers(tmp_path, bits):
    """Which Pillow stretches to 0 to 255: of 2 bits class 3 was 255, which is no class."""
    numbers = np.arange(16).reshape(4, 4) % 2**bits
    write_grey(tmp_path / "0.png", numbers, bits)
    assert (Masks(Store([0], keys=["0.jpg"]), str(tmp_path), 4).of(np.array([0]))[0] == numbers).all()


def test_masks_that_are_not_there_or_no_numbers(masks, squares, tmp_path):
    folder = masks(squares)
    (tmp_path / "masks/pictures/3.png").unlink()
    with pytest.raises(StoreError, match=r"3\.png: there is no such picture; 1 of 12 images"):
        PROBES[0](folder).check(both().__getitem__)
    Image.new("RGB", (4, 4)).save(tmp_path / "masks/pictures/3.png")
    with pytest.raises(StoreError, match=r"3\.png: is RGB, but a mask has one number for each pixel"):
        run(PROBES[0](folder), Sees(squares), **both())
    (tmp_path / "masks/pictures/3.png").write_bytes(b"no picture")
    with pytest.raises(StoreError, match=r"3\.png: cannot be read as a picture"):
        run(PROBES[0](folder), Sees(squares), **both())
    for wrong in ({"steps": 0}, {"classes": 1}):
        with pytest.raises(RecipeError):
            LinearSegmentation(**KNOBS | {"masks": folder} | wrong).check(both().__getitem__)


def held(numbers, how):
    """Pixels of a camera that was held so, whose picture is `numbers` when it is looked at; Pillow turns it."""
    turns = {how: turn for turn in Image.Transpose for how in range(2, 9) if turned_by(how) == turn}
    image, inverse = Image.fromarray(numbers.astype(np.uint8)), {6: 8, 8: 6}.get(how, how)
    return image if how == 1 else image.transpose(turns[inverse])


def turned_by(how):
    """What Pillow's own exif_transpose does to a picture of six numbers."""
    before, camera = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3)), Image.Exif()
    camera[ExifTags.Base.Orientation] = how
    file = io.BytesIO()
    before.save(file, "PNG", exif=camera)
    after = ImageOps.exif_transpose(Image.open(file))
    return next(turn for turn in Image.Transpose if np.array_equal(before.transpose(turn), after))


@pytest.mark.parametrize("how", range(1, 9))
@pytest.mark.parametrize("scale", [1, 3])
def test_masks_of_photographs_that_were_held_otherwise(tmp_path, how, scale):
    """One as it is looked at, one as its pixels lie, one that says itself how it was held: all are one mask."""
    upright, camera = np.random.default_rng(0).integers(0, 9, (12, 8)), Image.Exif()
    camera[ExifTags.Base.Orientation] = how
    lying = held(upright, how)
    Image.fromarray(upright.astype(np.uint8)).save(tmp_path / "0.png")
    lying.save(tmp_path / "1.png")
    lying.save(tmp_path / "2.png", exif=camera)
    masks = Masks(Store([0] * 3, keys=["0.jpg", "1.jpg", "2.jpg"]), str(tmp_path), 8)
    width, height = lying.size
    masks.lie_as(SimpleNamespace(headers=lambda store, rows: [Header(width * scale, height * scale, how)] * len(rows)))
    found, wanted = masks.of(np.arange(3)), upright[2:10]
    # Where both shapes are one, a mask is taken for what is looked at.
    assert [np.array_equal(one, wanted) for one in found] == [True, how == 1 or how >= 5, True]
    assert [masks.size_of(place) for place in range(3)] == [(8, 12)] * 3


def test_masks_of_neither_shape_are_told(tmp_path):
    for number, size in enumerate([(8, 4), (4, 8), (4, 4), (400, 199)]):
        Image.new("L", size).save(tmp_path / f"{number}.png")
    masks, said = Masks(Store([0] * 4, keys=[f"{n}.jpg" for n in range(4)]), str(tmp_path), 4), []
    with heard_by(said.append):
        masks.lie_as(SimpleNamespace(headers=lambda store, rows: [Header(640, 320, 1)] * 3 + [None]))
        masks.lie_as(SimpleNamespace(headers=lambda store, rows: [Header(320, 640, 8)] * 2 + [None] * 2))
    told, *unseen = said
    assert f"2 of 4 masks of toy have another shape than their images, the first is {tmp_path}" in told
    assert "1.png (4 x 8, its image 640 x 320)" in told
    assert masks.turned == 1
    # Of images that are not there only masks are told that might lie otherwise: a square is taken as it is.
    assert len(unseen) == 2 and all(
        f"{tmp_path}: 1 of 4 masks of toy are taken as they lie, the first is {tmp_path}/3.png: their images" in line
        for line in unseen
    )


def test_of_a_student_that_says_nothing_no_image_is_looked_at_for_its_mask(tmp_path):
    """Behind a URL `recipe check` would fetch every one."""
    Image.new("L", (8, 4)).save(tmp_path / "0.png")
    masks = Masks(Store([0], keys=["0.jpg"]), str(tmp_path), 4)
    masks.lie_as(SimpleNamespace(blank=True, headers=lambda store, rows: pytest.fail("looked at")))
    assert masks.turned == 0
