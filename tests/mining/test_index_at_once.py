"""Two processes that want one index at one moment: one builds it, the other waits and uses it."""

import numpy as np

from distillkit.mining import index
from tests.at_once import Pair

ROUNDS = 4
ROWS = np.random.default_rng(0).standard_normal((2000, 16)).astype(np.float32)


class Vectors:
    width = ROWS.shape[1]

    def __len__(self):
        return len(ROWS)

    def unit(self, rows):
        return ROWS[rows] / np.linalg.norm(ROWS[rows], axis=1, keepdims=True)

    def sample(self, count, seed):
        return np.sort(np.random.default_rng(seed).permutation(len(ROWS))[:count])


def opens(which, number, root):
    heard = []
    made = index.opened(root / f"store.index/{number}", "ivf_flat", Vectors(), {"seed": 0, "rows": 2000}, heard.append)
    _, found = made.search(Vectors().unit(slice(0, 5)), 1)
    built, used = ("training" in "".join(heard), "used again" in "".join(heard))
    return built, used, len(found)


def test_one_builds_and_the_other_uses_it(tmp_path):
    pair = Pair(opens, ROUNDS, tmp_path)
    try:
        for number in range(ROUNDS):
            assert sorted(pair.round()) == [(False, True, 5), (True, False, 5)]
            assert sorted(path.name for path in (tmp_path / f"store.index/{number}").iterdir()) == [
                "index.faiss",
                "index.json",
            ]
    finally:
        pair.close()
    assert sorted(path.name for path in (tmp_path / "store.index").iterdir()) == list("0123")
