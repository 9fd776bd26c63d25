"""Evaluations: an encoder in, named numbers out. One kind is one file; the folder is the registry.

    store                       the store of images that is looked at
    run(encode, open_store)     {name: number}; `encode` is teacher, student or baseline (see _encode.py)
    check(open_store)           optional: what `run` would refuse of the stores' labels, before anybody is asked
Labels are read by `labels_of` (_labels.py) and become classes by `prompted` or `classes_of` (_classes.py).
Beside a number `x` there may be `x.low`, `x.high` (its 95 % interval) and `x.chance`; reports show such a number as a
share.
"""
