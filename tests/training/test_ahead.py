"""On a CPU batches are made ahead where that is faster, whatever single steps take; elsewhere as many as was said."""

import pytest
import torch

from distillkit.training.ahead import Ahead, ahead_of


def found(seconds):
    """What is done after 150 steps, of which each takes `seconds(step, how many are made ahead)`."""
    pace, asked = Ahead(None), []
    for step in range(150):
        asked.append(pace.next())
        pace.took(seconds(step, asked[-1]))
    assert {*asked[:99]} == {0, 2} and len({*asked[99:]}) == 1
    return asked[-1]


@pytest.mark.parametrize(("without", "made_ahead", "chosen"), [(1.0, 0.8, 2), (1.0, 4.0, 0), (1.0, 1.0, 0)])
def test_the_faster_one_is_kept(without, made_ahead, chosen):
    assert found(lambda step, ahead: made_ahead if ahead else without) == chosen


def test_a_step_that_validates_or_keeps_a_checkpoint_decides_nothing():
    assert found(lambda step, ahead: (0.8 if ahead else 1.0) + (50 if step % 13 == 0 else 0)) == 2
    assert found(lambda step, ahead: (1.2 if ahead else 1.0) + (50 if step % 13 == 5 else 0)) == 0


@pytest.mark.parametrize("slow", range(0, 90, 10))
def test_a_machine_that_is_slow_for_a_while_decides_nothing(slow):
    def seconds(step, ahead):
        return (0.8 if ahead else 1.0) * (1.5 if slow <= step < slow + 20 else 1.0)

    assert found(seconds) == 2


def test_what_a_trial_left_for_the_next_one_is_not_counted():
    """The first two steps without are served from what was made ahead: they seem to be fast."""
    last = []

    def seconds(step, ahead):
        last.append(ahead)
        return 0.1 if not ahead and 2 in last[-3:-1] else (0.9 if ahead else 1.0)

    assert found(seconds) == 2


@pytest.mark.parametrize("fixed", [0, 1, 5])
def test_what_a_recipe_says_is_done(fixed):
    pace = Ahead(fixed)
    for _ in range(50):
        assert pace.next() == fixed
        pace.took(1.0)


def test_beside_a_gpu_two_are_made_ahead_but_for_what_was_said():
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    for device, said, ahead in ((cuda, None, 2), (cpu, None, None), (cuda, 0, 0), (cpu, 3, 3)):
        assert ahead_of(said, device) == ahead
