"""What a student said of a store's images, kept in its run folder: a new evaluation of them costs only itself.

evaluation/features/STORE-DIGEST-WEIGHTS.safetensors    "image" float32 [n, d], a row for each usable row of the store

They can be deleted at any time.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from distillkit.store.reading.reader import FeatureStore
from distillkit.system.atomic import atomic_file, keep_names


class Features:
    """Below `folder`, by store. `network`: of which weights, and how they were run; of others they are made again."""

    def __init__(self, folder: Path, network: str):
        self.folder, self.network = folder, network

    def of(self, store: FeatureStore) -> Float[Tensor, "n d"] | None:
        """None where there are none of this store as it is, from this network."""
        path = self._path(store)
        if not path.is_file():
            return None
        keep_names(path.parent)
        try:
            with safe_open(path, "pt") as file:
                return file.get_tensor("image") if file.metadata() == self._made_of(store) else None
        except (OSError, SafetensorError):  # damaged: made again
            return None

    def keep(self, store: FeatureStore, said: Float[Tensor, "n d"]) -> None:
        with atomic_file(self._path(store)) as file:
            file.write(save({"image": said.contiguous()}, metadata=self._made_of(store)))

    def _path(self, store: FeatureStore) -> Path:
        name = re.sub(r"[^\w.-]+", "-", store.path.name)
        return self.folder / f"{name}-{store.digest[:12]}-{self.network[:12]}.safetensors"

    def _made_of(self, store: FeatureStore) -> dict[str, str]:
        told = {"network": self.network, "store": store.digest, "teacher": store.alias or ""}
        return {"made of": json.dumps(told)}  # one entry: several are written in no order, so never in the same bytes
