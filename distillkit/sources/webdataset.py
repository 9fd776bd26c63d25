"""Images and texts in tar files, as webdataset and img2dataset write them (https://github.com/webdataset/webdataset).

Nothing is unpacked: one pass over the headers notes where every image lies, `shard.tar@offset+length`, and from then
on any image is one read at its place.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from array import array
from collections.abc import Iterator
from typing import Any, BinaryIO, Literal

import numpy as np
import pyarrow as pa

from distillkit.errors import SourceError
from distillkit.sources._account import Account
from distillkit.sources._captions import Captions, with_captions
from distillkit.sources._patterns import files
from distillkit.sources._places import IMAGES, LARGEST_IMAGE, folder_at, printable
from distillkit.sources._stems import refuse_folded, split
from distillkit.sources._tar import LARGEST_TEXT, members, trouble
from distillkit.system.atomic import parsed_json
from distillkit.system.opening import blame_the_file
from distillkit.types import Sample

_PLACE = re.compile(r"(.+)@(\d+)\+(\d+)", re.DOTALL)
_PACKED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ")  # how gzip, zstd, bzip2 and xz begin
_SHOWN = 20  # endings of members that are told where none is what was looked for
_ROWS = pa.schema(
    [("stem", pa.string()), ("image", pa.string()), ("texts", pa.list_(pa.string())), ("label", pa.string())]
)


class WebDataset:
    """`root`: the folder of the tars, or its URL. `shards`: which tars below the root are read: a pattern with `*`, or
    a range such as `{00000..00331}`.

    Members whose names are equal up to the first dot are one sample, and that stem is its key; a stem that comes in
    several shards is a key only behind its shard's name. `dots`: "first": a name's stem ends at its first dot; "last":
    at its last, for names with dates or versions ("2024.01.07.png"). `image`: the extension of the images to take, such
    as "input.jpg"; any image, if not given. `text`: the member with the caption, by its extension ("txt"), or a field
    in a member ("json.caption"). `label`: the member with the class label, by its extension ("cls"), or a field in a
    member ("json.label"). `damaged`: what happens at a tar that is cut off: "stop" ends the command, "skip" leaves out
    what is missing.

    What cannot be an image (a link, a name with `..`) keeps its row, so that the failure ledger says why.
    """

    def __init__(
        self,
        *,
        root: str,
        shards: str = "*.tar",
        image: str | None = None,
        text: str | None = "txt",
        label: str | None = None,
        captions: Captions = "whole",
        dots: Literal["first", "last"] = "first",
        damaged: Literal["stop", "skip"] = "stop",
    ):
        self._place = folder_at(root)
        self.root = self._place.root
        self.shards, self.text, self.label, self.captions, self.damaged = shards, text, label, captions, damaged
        self.image, self.dots = image and image.removeprefix(".").lower(), dots
        self.account = Account()
        self._endings: set[str] = set()
        self._wanted = {selector.partition(".")[0] for selector in (text, label) if selector}

    def read(self, location: str) -> bytes:
        """The bytes of one image."""
        place = _PLACE.fullmatch(location)
        if place is None:
            raise SourceError(location.replace("?", ": ", 1))
        name, offset, length = place[1], int(place[2]), int(place[3])
        found = self._place.part(name, offset, length)
        if len(found) != length:
            where = self._place.where(name)
            raise SourceError(f"{where}: ends before byte {offset + length}; it was cut off since it was planned")
        return found

    def __iter__(self) -> Iterator[Sample]:
        marks = array("Q")
        self.account = account = Account()
        shards = files(self._place, self.shards, account, "source.shards")
        scanned = [(shard, self._scan(shard, marks, account)) for shard in shards]
        account.refuse_if_unheard(str(self.root), "mend source.text")
        ends = ", ".join(sorted(self._endings))
        account.found = f"its members end in {ends}" if ends else "its tars have no members"
        ordered = np.sort(np.frombuffer(marks, np.uint64))
        repeated = set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
        for shard, table in scanned:
            for row in (row for batch in table.to_batches(4096) for row in batch.to_pylist()):
                prefix = f"{shard}/" if repeated and _mark(row["stem"]) in repeated else ""
                said = row["texts"][0] if row["texts"] and len(row["texts"]) == 1 else row["texts"]
                yield from with_captions(prefix + row["stem"], row["image"], said, row["label"], self.captions)

    def _scan(self, shard: str, marks: array[int], account: Account) -> pa.Table:
        """The samples of one shard as a compact table; `marks` gets a number for each stem, once per shard."""
        groups: dict[str, dict[str, Any]] = {}
        twice: list[str] = []
        lost = None
        with self._opened(shard) as tar:
            try:
                for member in members(tar, self._place.size(shard), account, self._place.where(shard)):
                    stem, part = self._part_of(member, account)
                    if not stem:
                        continue
                    group = groups.setdefault(stem, {})
                    if part in group:
                        twice.append(stem)
                    else:
                        group[part] = self._content(shard, tar, member, part)
            except SourceError as error:
                if self.damaged == "stop":
                    told = f'{self._place.where(shard)}: {error}; {self._cure(shard)}, or set source.damaged = "skip"'
                    raise SourceError(told) from error
                lost = str(error)
        marks.extend(map(_mark, groups))
        rows = [self._row(shard, stem, group, account) for stem, group in groups.items()]
        # A name that comes twice in one shard is two samples of one key: the plan leaves out and counts the second.
        rows += [{"stem": printable(stem)} for stem in twice]
        if lost is not None:
            rows.append({"stem": shard, "image": f"{shard}?{lost}"})
        return pa.Table.from_pylist(rows, _ROWS)

    def _part_of(self, member: tarfile.TarInfo, account: Account) -> tuple[str, str]:
        """The stem of a member's sample, and its part: "image", or its ending. No stem: it is of no sample."""
        if member.isdir():
            return "", ""
        stem, extension = split(member.name, self.dots)
        if not stem:
            account.passed["hidden"] += 1
            return "", ""
        part = "image" if self._is_image(extension) else extension
        if part not in ("image", *self._wanted):
            account.pass_over(member.name)
        if len(self._endings) < _SHOWN:
            self._endings.add(printable(f".{extension}"))
        return stem, part

    def _content(self, shard: str, tar: BinaryIO, member: tarfile.TarInfo, part: str) -> Any:
        """Of an image its location, which tells what is wrong with it; of what a selector asks for its bytes."""
        reason = trouble(member, LARGEST_IMAGE if part == "image" else LARGEST_TEXT)
        if part == "image":
            return shard + (f"@{member.offset_data}+{member.size}" if reason is None else f"?{reason}")
        if part not in self._wanted or reason is not None:
            return None
        tar.seek(member.offset_data)
        return tar.read(member.size)

    def _cure(self, shard: str) -> str:
        """What mends a tar that cannot be read."""
        if shard.rpartition("/")[2].startswith("._"):
            return (
                "it is what a Mac leaves beside a file, and holds nothing: delete it, or leave it out of source.shards"
            )
        if self._place.part(shard, 0, 6).startswith(_PACKED):
            return (
                "it is compressed, so nothing in it can be read at its place: unpack it (gunzip, unzstd, bunzip2, unxz)"
            )
        return "fetch it again"

    def _is_image(self, extension: str) -> bool:
        return f".{extension}" in IMAGES if self.image is None else extension == self.image

    def _opened(self, shard: str) -> BinaryIO:
        try:
            return self._place.open(shard)
        except OSError as error:
            blame_the_file(error, self._place.where(shard))
            raise SourceError(
                f"{self._place.where(shard)}: cannot be read ({error.strerror or error}); make that file readable"
            ) from error

    def _row(self, name: str, stem: str, group: dict[str, Any], account: Account) -> dict[str, Any]:
        texts = self._texts(stem, group, account)
        label = self._value(stem, group, self.label, "label", account)
        image = group.get("image")
        if image is None:
            refuse_folded(self._place.where(name), stem, group)
        if image is None and texts is None:
            image = f"{name}?{stem!r} has no image, only: {printable(', '.join(sorted(group)))}"
        return {"stem": printable(stem), "image": image, "texts": texts, "label": None if label is None else str(label)}

    def _texts(self, stem: str, group: dict[str, Any], account: Account) -> list[str] | None:
        said = self._value(stem, group, self.text, "text", account)
        texts = said if isinstance(said, list) else None if said is None else [said]
        if texts is not None and not all(isinstance(text, str) for text in texts):
            account.lose("caption(s) without a text", printable(stem), "text", f"{self.text} is no text")
            return None
        account.heard |= texts is not None
        return texts

    def _value(self, stem: str, group: dict[str, Any], selector: str | None, what: str, account: Account) -> Any:
        """What a selector finds in a sample: the text of a member, or a field of its JSON; None where there is none."""
        if selector is None or group.get(selector.partition(".")[0]) is None:
            return None
        extension, *fields = selector.split(".")
        try:
            text = group[extension].decode("utf-8-sig")
            value = parsed_json(text) if fields else text
            json.dumps(value, ensure_ascii=False).encode()  # JSON can spell half a character, which no text can hold
        except (ValueError, RecursionError) as error:
            account.lose(
                f".{extension} that cannot be read", printable(stem), what, f"{stem}.{extension} is damaged ({error})"
            )
            return None
        for field in fields:
            value = value.get(field) if isinstance(value, dict) else None
        return value


def _mark(stem: str) -> int:
    """8 bytes of a hash, the same in every process: tens of millions of stems stay within memory."""
    return int.from_bytes(hashlib.blake2b(printable(stem).encode(), digest_size=8).digest())
