"""What decides how fast networks run on a CPU."""

import pytest
import torch

from distillkit.system import cpu


@pytest.mark.parametrize(("cores", "said", "threads"), [(1, None, 1), (1, "2", 2), (8, None, 2)])
def test_torch_takes_no_more_threads_than_a_container_allows(monkeypatch, cores, said, threads):
    before = torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if said:
        monkeypatch.setenv("OMP_NUM_THREADS", said)
    monkeypatch.setattr(cpu, "cores", lambda: cores)
    try:
        torch.set_num_threads(2)
        cpu.settle()
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
