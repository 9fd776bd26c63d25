"""Blocks that break a graph are found by halving: few questions, and no more blocks than it takes."""

from distillkit.parity.bisection import fewest

BLOCKS = [f"image/blocks.{number}" for number in range(32)]


def asked(passes):
    calls = []

    def ask(kept):
        calls.append(kept)
        return passes(set(kept))

    return ask, calls


def test_blocks_that_break_it_alone_are_found_in_few_trials():
    broken = {BLOCKS[3], BLOCKS[17]}
    ask, calls = asked(lambda kept: broken <= kept)
    assert fewest(BLOCKS, ask) == [BLOCKS[3], BLOCKS[17]]
    assert len(calls) < 25


def test_where_errors_add_up_the_first_blocks_are_kept_too():
    """No block is over the limit alone but the last; of the others no more than 20 may be lowered."""
    ask, _ = asked(lambda kept: BLOCKS[-1] in kept and len(set(BLOCKS) - kept) <= 20)
    kept = fewest(BLOCKS, ask)
    assert BLOCKS[-1] in kept and len(kept) == 12 and kept[:11] == BLOCKS[:11]


def test_what_nothing_mends_is_all_of_it():
    ask, _ = asked(lambda kept: len(kept) == len(BLOCKS))
    assert fewest(BLOCKS, ask) == BLOCKS
