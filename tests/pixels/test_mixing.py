"""Mixup and CutMix on numbers that one can do in one's head."""

import torch

from distillkit.pixels.mixing import Mix, drawn, neighbours
from distillkit.recipe import Augment


def grey(*values, size=4):
    return torch.tensor(values, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, size, size).contiguous()


def test_neighbours_change_places():
    assert neighbours(torch.arange(6)).tolist() == [1, 0, 3, 2, 5, 4]


def test_mixup_is_a_weighted_mean():
    mixed = Mix(0.25)(grey(0, 200, 40, 40))
    assert mixed[:, 0, 0, 0].tolist() == [150, 50, 40, 40]
    assert Mix(1.0)(grey(7, 255)).equal(grey(7, 255)) and Mix(0.0)(grey(7, 255)).equal(grey(255, 7))


def test_cutmix_is_a_box_of_the_neighbour():
    mixed = Mix(0.75, (2, 0, 4, 2))(grey(0, 200))
    assert mixed[0, 0].tolist() == [[0, 0, 200, 200]] * 2 + [[0] * 4] * 2
    assert mixed[1, 2].tolist() == [[200, 200, 0, 0]] * 2 + [[200] * 4] * 2


def test_what_is_drawn_belongs_to_the_step():
    augment = Augment(mixup=0.8, cutmix=1.0, mixed_batches=0.5)
    mixes = [drawn(augment, 0, step, 32) for step in range(400)]
    assert mixes == [drawn(augment, 0, step, 32) for step in range(400)]
    assert mixes != [drawn(augment, 1, step, 32) for step in range(400)]
    boxes = [mix.box for mix in mixes if mix and mix.box]
    assert 150 < sum(mix is not None for mix in mixes) < 250 and 70 < len(boxes) < 130
    for mix in mixes:
        if mix and mix.box:
            left, top, right, bottom = mix.box
            assert 0 <= left <= right <= 32 and 0 <= top <= bottom <= 32
            assert mix.share == 1 - (right - left) * (bottom - top) / 1024
    assert drawn(Augment(), 0, 0, 32) is None
    assert all(mix is None or mix.box is None for mix in (drawn(Augment(mixup=0.2), 0, step, 32) for step in range(20)))
