"""A pretend GPU: real numbers on the CPU, behind tensors that say, and insist, that they are on cuda:0.

    with pretend_gpu() as ledger:
        train(recipe)                # enters every branch that a GPU would
    ledger.waits, ledger.pageable    # where the host waited, and what copies were not from pinned memory

It sees tensors of two devices in one operation, CUDA tensors taken for NumPy's, generators of the wrong device, waits,
pageable copies, pinned memory that is overwritten under a copy, and the number formats of CUDA's autocast. It cannot
see kernels' own numbers, streams, memory's end, NCCL, Triton or nvjpeg.
"""

from tests.pretend.gpu import pretend_gpu
from tests.pretend.ledger import Ledger, Race
from tests.pretend.tensor import Pretend

__all__ = ["Ledger", "Pretend", "Race", "pretend_gpu"]
