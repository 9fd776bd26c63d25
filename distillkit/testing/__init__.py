"""For tests of what is built on stores: strategies of Hypothesis, and models that a store is checked against.

    from hypothesis.stateful import run_state_machine_as_test
    from distillkit.testing import StoreMachine

    run_state_machine_as_test(StoreMachine)

`pip install "distillkit[testing]"`. StoreMachine writes a store shard by shard, CorpusMachine extracts one by the real
commands; both die, run out of room and are damaged as Hypothesis likes, and after each step all that is on the disk
must be what a dict says. Subclass them to add rules. An assertion that rests on FORMAT.md names its sentence.
"""

from distillkit.testing.adding import Adding
from distillkit.testing.cards import Cards, Teller
from distillkit.testing.corpus_machine import CorpusMachine
from distillkit.testing.damage import Damage
from distillkit.testing.elsewhere import Elsewhere
from distillkit.testing.promise import must
from distillkit.testing.rows import fields, plan_of, rows_of
from distillkit.testing.store_machine import StoreMachine
from distillkit.testing.trouble import troubles
from distillkit.testing.writing import Writing

__all__ = [
    "Adding",
    "Cards",
    "CorpusMachine",
    "Damage",
    "Elsewhere",
    "StoreMachine",
    "Teller",
    "Writing",
    "fields",
    "must",
    "plan_of",
    "rows_of",
    "troubles",
]
