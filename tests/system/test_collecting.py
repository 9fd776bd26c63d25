"""What is made while the search for garbage is paused is old afterwards: not searched at once, nor kept for ever."""

import gc
import weakref

from distillkit.system.collecting import paused


class Knot:
    """In a circle, which only a search finds."""

    def __init__(self):
        self.itself = self


def test_what_was_made_is_not_searched_at_once_and_is_found_in_the_end():
    gc.unfreeze()  # whatever ran before in this process
    with paused():
        made = [Knot() for _ in range(100_000)]
    assert any(one is made[0] for one in gc.get_objects(generation=2))
    assert gc.isenabled() and gc.get_freeze_count() == 0
    last = weakref.ref(made[-1])
    del made
    gc.collect()
    assert last() is None


def test_garbage_is_found_soon_where_little_is_made():
    """A process that opens one store after the other would keep what it has dropped, gigabytes after some hours."""
    knots = [Knot() for _ in range(3)]
    dropped = [weakref.ref(knot) for knot in knots]
    with paused():
        del knots
    gc.collect(generation=1)
    assert [knot() for knot in dropped] == [None] * 3


def test_what_somebody_froze_stays_frozen():
    knot = Knot()
    gc.freeze()
    try:
        with paused():
            pass
        # A count of what is frozen would not tell: any thread may drop something frozen meanwhile.
        assert not any(one is knot for one in gc.get_objects())
    finally:
        gc.unfreeze()
    assert any(one is knot for one in gc.get_objects())
