"""Evaluations: an encoder in, answers out. One kind is one file; the folder is the registry.

    store                       the store of images that is looked at
    run(encode, open_store)     `encode` is teacher, student or baseline (see _encode.py). Out come `Answers`, one or
                                several, a row for each item, of which numbers, intervals and paired tests are made; or
                                just {name: number}: such numbers are told, and no test can be made of them
    further                     optional: more stores that are read, beside store, prompts, train and gallery
    texts                       optional: true of one that asks about texts, other than of a store `prompts`
    together(found)             optional: everybody's answers, by network, with facts that take two of them to tell
    check(open_store)           optional: what `run` would refuse of the stores' labels, before anybody is asked
    files(open_store)           optional: by the knob that names them, the paths of files that are no store and that
                                answers hang on: answers that are kept are not taken where one has changed since
    encode.blank                true of a network that says nothing (_encode.py), of which little need be learned and
                                ranked: it is asked before a training, for what would be refused in hours
Labels are read by `labels_of` (_labels.py) and become classes by `prompted` or `classes_of` (_classes.py).
Beside a number `x` there may be `x.low`, `x.high` (its 95 % interval), `x.groups` (of how many independent
groups its items are), `x.chance` and `x.majority` (what the most frequent class gives, said of everything, where that
is more than chance); reports show a number of which
chance is known as a share.
"""

from distillkit.evals._answers import Answers, Measure

__all__ = ["Answers", "Measure"]
