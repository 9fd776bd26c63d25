"""Students and losses of one's own whose state is more than parameters of known shapes: kept whole, or refused."""

import sys

import pytest
import torch
from safetensors.torch import load_file

from distillkit import load_student, train
from distillkit.errors import RecipeError
from distillkit.training.course import Course
from distillkit.training.learner import Learner

OWN = """
import torch
import torch.nn.functional as F
from torch import nn
from distillkit.types import Features


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.image_size, self.widths = 32, {"image": 32}
        self.net = nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.Flatten(), self.last())
        self.more()
    def last(self): return nn.Linear(64, 32)
    def more(self): pass
    def says(self, x): return self.net(x)
    def embed(self, pixels): return self.says(pixels.float() / 255)
    def forward(self, batch): return Features(image=self.embed(batch.pixels))

class Lazy(Plain):
    def last(self): return nn.LazyLinear(32)

class Tied(Plain):
    def more(self):
        self.one, self.two = nn.Linear(32, 32, bias=False), nn.Linear(32, 32, bias=False)
        self.two.weight = self.one.weight
    def says(self, x): return self.two(F.gelu(self.one(self.net(x))))

class Seen(Plain):
    def more(self): self.seen = 0
    def forward(self, batch):
        self.seen += 1
        return super().forward(batch)
    def get_extra_state(self): return torch.tensor(self.seen)
    def set_extra_state(self, state): self.seen = int(state)

class Table(Seen):
    def get_extra_state(self): return {"seen": self.seen}

class Complex(Plain):
    def more(self): self.wave = nn.Parameter(torch.ones(17, dtype=torch.complex64))
    def says(self, x): return torch.fft.irfft(torch.fft.rfft(self.net(x)) * self.wave, n=32)

class Late(Plain):
    def says(self, x):
        if not hasattr(self, "head"):
            self.head = nn.Linear(32, 32)
        return self.head(self.net(x))

class Grows(Plain):
    def more(self): self.register_buffer("seen", torch.zeros(0, 32))
    def forward(self, batch):
        said = self.embed(batch.pixels)
        self.seen = torch.cat([self.seen, said.detach()[:1]])
        return Features(image=said)

class Loose(Plain):
    def more(self): self.register_buffer("shift", torch.zeros(32), persistent=False)
    def forward(self, batch):
        said = self.embed(batch.pixels)
        self.shift = self.shift + said.detach().mean(0)
        return Features(image=said - self.shift)


class Loss(nn.Module):
    needs = ("student.image", "teacher.image")
    def __init__(self, widths, *, name: str | None = None, weight: float = 1.0):
        super().__init__()
        self.name, self.weight = name, weight
        self.more()
    def more(self): pass
    def head(self, x): return x
    def forward(self, batch, student): return F.mse_loss(self.head(student.image), batch.teacher.image.float())

class LazyLoss(Loss):
    def more(self): self.lin = nn.LazyLinear(32)
    def head(self, x): return self.lin(x)

class LateLoss(Loss):
    def head(self, x):
        if not hasattr(self, "lin"):
            self.lin = nn.Linear(32, 32)
        return self.lin(x)

class TableLoss(Loss):
    def get_extra_state(self): return {"seen": 0}
"""


@pytest.fixture
def own(student, tmp_path, monkeypatch):
    """Trains a class of these: (run folder, lines that were told); with `ends`, an error comes before that step."""
    (tmp_path / "own_state.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    whole = student.recipe.read_text()
    model = 'kind = "timm_image"\nmodel = "mobilenetv3_small_050"\nimage_size = 32\nembed_dim = 32\n'
    assert model in whole
    before, _, behind = whole.partition("[[losses]]")
    optim = "[optim]" + behind.partition("[optim]")[2]
    step = Course.step

    def trained(kind="Plain", loss="Loss", *, name="run", ends=None):
        text = (
            before.replace(model, f'kind = "own_state:{kind}"\n') + f'[[losses]]\nkind = "own_state:{loss}"\n' + optim
        )
        text = text.replace("[optim]\n", "[optim]\nema = 0.9\n").replace("/run", f"/{name}")
        (tmp_path / "own.toml").write_text(text)

        def dies(course, batch, *more):
            if batch.step == ends:
                raise RuntimeError("killed")
            step(course, batch, *more)

        monkeypatch.setattr(Course, "step", dies)
        lines = []
        return train(tmp_path / "own.toml", say=lines.append), lines

    yield trained
    sys.modules.pop("own_state", None)


@pytest.mark.parametrize("kind", ["Plain", "Lazy", "Tied", "Seen"])
def test_it_is_opened_and_a_killed_run_is_the_undisturbed_one(own, kind):
    run, _ = own(kind, name="whole")
    with pytest.raises(RuntimeError, match="killed"):
        own(kind, name="again", ends=3)
    again, _ = own(kind, name="again")
    one, other = (load_file(place / "student.safetensors") for place in (run, again))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert torch.equal(load_student(run).module.net[0].weight, one["net.0.weight"])


def test_the_average_of_what_is_tied_moves_once_a_step(own, monkeypatch):
    """As by hand, of the weights before and after each step."""
    update, pairs = Learner._update, []

    def noted(learner, step):
        before = learner.kept.one.weight.clone()
        update(learner, step)
        decay = min(0.9, (1 + step) / (10 + step))
        by_hand = torch.lerp(before, learner.student.one.weight.detach(), 1 - decay)
        pairs.append((learner.kept.two.weight.clone(), by_hand))

    monkeypatch.setattr(Learner, "_update", noted)
    own("Tied")
    assert len(pairs) == 4
    assert all(torch.allclose(have, want) for have, want in pairs)


def test_what_is_no_weight_goes_into_the_average_too(own):
    assert load_student(own("Seen")[0]).module.seen == 4


@pytest.mark.parametrize(
    ("kind", "loss", "told"),
    [
        ("Table", "Loss", "student: '_extra_state' is a dict"),
        ("Complex", "Loss", "student: 'wave' is complex"),
        ("Late", "Loss", "student: 'head.weight' is made in a forward"),
        ("Grows", "Loss", "student: 'seen' goes from 0 x 32 to 1 x 32 in a forward"),
        ("Plain", "LazyLoss", "losses: 'terms.LazyLoss.lin.weight' has no shape"),
        ("Plain", "LateLoss", "losses: 'terms.LateLoss.lin.weight' is made in a forward"),
        ("Plain", "TableLoss", "losses: 'terms.TableLoss._extra_state' is a dict"),
    ],
)
def test_what_no_file_could_keep_is_refused_at_the_first_step(own, kind, loss, told):
    with pytest.raises(RecipeError) as refused:
        own(kind, loss)
    assert str(refused.value).startswith(told)
    assert "\n" not in str(refused.value)


def test_a_buffer_that_moves_and_is_not_kept_is_told(own):
    assert [line for line in own("Loose")[1] if "student: buffer 'shift' moves in a step" in line]
    assert not [line for line in own("Plain", name="plain")[1] if "persistent" in line]
