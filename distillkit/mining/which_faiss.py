"""FAISS, by whichever of its packages it is here: faiss-cpu (the extra "mining") or faiss-gpu ("mining-gpu").

Both bring the module `faiss`, so an environment has one of them.
"""

from __future__ import annotations

from typing import Any

import torch

from distillkit.errors import DistillkitError, MissingExtra
from distillkit.system.machine import search_libraries
from distillkit.system.wording import one_line

faiss: Any
if len(found := search_libraries()) > 1:
    raise DistillkitError(
        f"{' and '.join(found)} are here together, and each has overwritten files of the other; "
        f'pip uninstall {" ".join(one.split()[0] for one in found)}, then pip install "distillkit[mining]", or '
        "[mining-gpu]"
    )
try:
    import faiss
except ModuleNotFoundError as error:
    if error.name != "faiss":
        raise
    raise MissingExtra("faiss", "mining-gpu" if torch.cuda.is_available() else "mining") from error
except (ImportError, OSError, AttributeError) as error:  # its own libraries, or CUDA's, are not where it looks
    raise DistillkitError(
        f"faiss cannot be loaded here ({one_line(error):.150}); without a GPU take faiss-cpu: "
        'pip uninstall faiss-gpu, then pip install "distillkit[mining]"'
    ) from error

__all__ = ["faiss"]
