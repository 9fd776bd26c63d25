"""Where keys are, in one pass over the index and without a table of it: tens of millions of keys stay on the disk."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def find(wanted: pa.Array, keys: pa.ChunkedArray) -> np.ndarray:
    """The row of each wanted key in `keys`, -1 where it is in none: int64 [len(wanted)].

    What is wanted becomes the hash table, however many keys there are; beside it there are 4 bytes for each of them.
    """
    coded = wanted.dictionary_encode()  # a key may be asked for twice
    place = pc.index_in(keys, value_set=coded.dictionary)
    row_of = np.full(len(coded.dictionary), -1, dtype=np.int64)
    row_of[place.drop_null().to_numpy()] = pc.indices_nonzero(pc.is_valid(place)).to_numpy()
    return row_of[coded.indices.to_numpy()]
