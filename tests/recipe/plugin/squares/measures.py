"""What is minimised, and what is reported."""

from torch import nn


class Apart(nn.Module):
    """The mean distance."""

    needs = ("student.image", "teacher.image")

    def __init__(self, widths, *, name: str | None = None, weight: float = 1.0):
        super().__init__()
        self.name, self.weight = name, weight
        assert widths.student["image"] == widths.teacher["image"]

    def forward(self, batch, student):
        return (student.image - batch.teacher.image).norm(dim=1).mean()


class Distance:
    """The mean distance to the teacher."""

    def __init__(self, *, store: str, name: str | None = None):
        self.store, self.name = store, name or "distance"

    def run(self, encode, open_store):
        store = open_store(self.store)
        theirs = store.read("image", store.ok_rows).float()
        return {"distance": float((encode(store) - theirs).norm(dim=1).mean())}
