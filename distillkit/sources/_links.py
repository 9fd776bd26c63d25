"""Which links out of a corpus its owner set, so that a path of a table may lead through them.

A link to a folder is how a corpus is spread over disks (`images -> /disk/images`), and what no table can bring along;
only one that leads above the corpus would open all that lies beside it. A link to a file may have come with an unpacked
archive and is refused, but in a snapshot of the Hugging Face hub, where every file is a link to the blobs beside it.
https://huggingface.co/docs/huggingface_hub/guides/manage-cache
"""

from __future__ import annotations

import os
from pathlib import Path


def led_by_its_owner(root: Path, path: Path) -> bool:
    """Whether `path`, below `root` as it is spelled and without "..", leaves it by such links alone."""
    here, around = root, [Path(os.path.realpath(root))]
    for part in path.relative_to(root).parts:
        here = here / part
        if not here.is_symlink():
            continue
        target = Path(os.path.realpath(here))
        if any(target.is_relative_to(one) for one in around):
            continue
        if not target.is_dir() or any(one.is_relative_to(target) for one in around):
            return _is_blob(Path(os.path.realpath(here.parent)), target)
        around.append(target)
    return True


def _is_blob(folder: Path, target: Path) -> bool:
    """Whether a link in `folder` leads to the blobs of the snapshot that the folder lies in."""
    repository = next((one.parent for one in (folder, *folder.parents) if one.name == "snapshots"), None)
    return repository is not None and target.parent == repository / "blobs"
