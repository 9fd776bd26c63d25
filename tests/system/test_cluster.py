"""Without an address the cluster is one of our own, also where another one runs on this machine."""

from types import SimpleNamespace

import pytest

from distillkit.system.cluster import connected


@pytest.mark.parametrize(("address", "asked", "own"), [(None, "local", True), ("auto", "auto", False)])
def test_a_running_cluster_is_joined_where_it_is_asked_for(address, asked, own):
    begun, ended = [], []
    ray = SimpleNamespace(
        init=lambda where, **knobs: begun.append((where, "object_store_memory" in knobs)),
        shutdown=lambda: ended.append(True),
        exceptions=SimpleNamespace(RayError=RuntimeError, RayTaskError=KeyError),
    )
    with connected(ray, address):
        assert begun == [(asked, own)] and not ended
    assert ended
