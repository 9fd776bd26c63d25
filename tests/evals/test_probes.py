"""The other probes: CLIP's search, SGD from texts, several labels an image, two classes by the area under the curve."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from distillkit.errors import RecipeError, StoreError
from distillkit.evals import _ranking
from distillkit.evals.knn import Knn
from distillkit.evals.linear_probe import LinearProbe, searched
from distillkit.evals.multi_label import MultiLabel
from distillkit.evals.sgd_probe import RATES, SgdProbe
from distillkit.evals.zero_shot import ZeroShot
from distillkit.system.progress import heard_by
from tests.evals.worlds import Store, Student, Teacher, run

torch.manual_seed(0)
LABEL = (torch.arange(90) % 3).tolist()
FEATURES = torch.randn(90, 4) + 2.0 * torch.eye(4)[LABEL]
WHOLE = Store(FEATURES, label=LABEL)
PROMPTS = Store(None, [0, 1, 2], [0, 1, 2], ["a", "b", "c"])


@pytest.mark.parametrize("peak", [-6.0, -3.375, 0.0, 1.625, 6.0])
def test_clips_search_finds_the_best_of_8_steps_a_decade_without_trying_all(peak):
    tried = []

    def score(strength):
        tried.append(strength)
        return -abs(np.log10(strength) - peak)

    assert np.log10(searched(score)) == pytest.approx(peak) and len(tried) == len(set(tried)) <= 15


def test_clips_protocol_is_scikit_learns_regression_on_raw_features():
    """The strength is that of a sum over images; what was held out to choose it is learned from in the end."""
    store = Store(3 * FEATURES + 5, label=LABEL)
    measure = LinearProbe(train="s", store="s", l2="clip", standardise=False, steps=1000)
    found = run(measure, Teacher(), s=store)
    strength = found["l2"] * 90
    assert np.log10(strength) * 8 == pytest.approx(round(np.log10(strength) * 8), abs=1e-6)
    theirs = LogisticRegression(C=1 / strength, max_iter=5000, tol=1e-8).fit(store.fields["image"].numpy(), LABEL)
    assert found["top-1"] == pytest.approx(theirs.score(store.fields["image"].numpy(), LABEL), abs=1.5 / 90)


def test_a_store_of_its_own_can_choose():
    """It says that labels are turned round: who learned nothing errs least there."""
    turned = Store(FEATURES, label=[(one + 1) % 3 for one in LABEL])
    measure = LinearProbe(train="s", store="s", validation_store="v", l2=[1e-4, 1e3])
    assert run(measure, Teacher(), s=WHOLE, v=WHOLE)["images"] == 90
    measure = SgdProbe(train="s", store="s", validation_store="v", rates=[0.0, 1.0], batch=32)
    assert run(measure, Teacher(), s=WHOLE, v=WHOLE)["rate"] == 1.0
    assert run(measure, Teacher(), s=WHOLE, v=turned)["rate"] == 0.0


def test_heads_of_one_grid_are_as_if_alone_and_torchs_own_sgd_finds_the_same():
    measure = SgdProbe(train="s", store="s", rates=[0.01, 1.0], epochs=3, batch=16)
    both = measure._fit(FEATURES, torch.tensor(LABEL), torch.zeros(3, 4), [0.01, 1.0])
    alone = measure._fit(FEATURES, torch.tensor(LABEL), torch.zeros(3, 4), [1.0])
    assert torch.allclose(both.weight[1], alone.weight[0], atol=1e-6)
    layer = torch.nn.Linear(4, 3)
    with torch.no_grad():
        layer.weight.zero_(), layer.bias.zero_()
    optimizer = torch.optim.SGD(layer.parameters(), lr=16 / 256, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 15)
    random, order = torch.Generator().manual_seed(0), torch.empty(0, dtype=torch.int64)
    for _ in range(15):
        order = torch.randperm(90, generator=random) if len(order) < 16 else order
        places, order = order[:16], order[16:]
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(layer(FEATURES[places]), torch.tensor(LABEL)[places]).backward()
        optimizer.step()
        schedule.step()
    assert torch.allclose(alone.weight[0], layer.weight, atol=1e-5)


def test_a_head_that_begins_as_texts_is_zero_shot_until_it_learns():
    measure = SgdProbe(train="s", store="s", prompts="p", rates=[1e-12])
    zero = run(ZeroShot(store="s", prompts="p"), Teacher(), s=WHOLE, p=PROMPTS)
    begun = run(measure, Teacher(), s=WHOLE, p=PROMPTS)
    assert begun["top-1"] == zero["top-1"] and begun["top-5"] == zero["top-5"]
    shifted = Student(FEATURES.roll(1, 1))  # says of each class what the texts say of the next
    before = run(ZeroShot(store="s", prompts="p"), shifted, s=WHOLE, p=PROMPTS)["top-1"]
    learned = run(SgdProbe(train="s", store="s", prompts="p", batch=16), shifted, s=WHOLE, p=PROMPTS)
    assert learned["top-1"] > before + 0.2 and learned["rate"] in RATES
    with pytest.raises(StoreError, match="does not know"):
        SgdProbe(train="s", store="s", prompts="p").check({"s": Store([3, 3], label=[7, 7]), "p": PROMPTS}.__getitem__)


@pytest.fixture
def lists(tmp_path):
    """VOC's lists of three classes: of image n, n % 3 is in it, and n % 2, too; every seventh is hard to see."""
    hit = np.array([[n % 3 == c or n % 2 == c for c in range(3)] for n in range(30)]).astype(int)
    hit[::7] = -1
    for column, name in enumerate("abc"):
        for part, rows in (("test", range(15, 30)), ("trainval", range(15))):
            marks = (f"{n:06d} {'0' if hit[n, column] < 0 else '1' if hit[n, column] else '-1'}\n" for n in rows)
            (tmp_path / f"{name}_{part}.txt").write_text("".join(marks))
    return str(tmp_path), hit


def test_several_labels_by_texts_and_by_a_probe(lists):
    folder, hit = lists
    says = torch.from_numpy(np.pad(np.maximum(hit, 0), ((0, 0), (0, 1)))).float() + 0.01
    store = Store(says, keys=[f"JPEGImages/{n:06d}.jpg" for n in range(30)])
    for knobs in ({"prompts": "p"}, {"train": "s"}):
        measure = MultiLabel(store="s", labels=folder, **knobs)
        found = run(measure, Teacher(), s=store, p=PROMPTS)
        assert found["images"] == 15 and found["ROC-AUC"] > 0.9 and found["mAP 11-point"] > 0.9, knobs
        random = run(measure, Student(torch.randn(30, 4)), s=store, p=PROMPTS)
        assert random["ROC-AUC"] < 0.75 and random["mAP 11-point"] < 0.9
        assert random["mAP 11-point.low"] <= random["mAP 11-point"] <= random["mAP 11-point.high"]


def test_lists_that_are_not_there_or_of_others(lists, tmp_path):
    folder, _ = lists
    store = Store([0] * 30, keys=[f"{n:06d}.jpg" for n in range(30)])
    stores = {"s": store, "few": Store([0], keys=["000001.jpg"]), "p": Store(None, [0, 1], [0, 1])}

    def check(**knobs):
        MultiLabel(**{"store": "s", "labels": folder, "train": "s"} | knobs).check(stores.__getitem__)

    for knobs, told in (
        ({"labels": "nowhere"}, "has no lists CLASS_test.txt"),
        ({"store": "few"}, r"has no image '000015' \(15 of 15 lack\)"),
        ({"train": None, "prompts": "p"}, "has 2 classes, the lists have 3"),
    ):
        with pytest.raises(StoreError, match=told):
            check(**knobs)
    (tmp_path / "b_test.txt").write_text("000015 1\n")
    with pytest.raises(StoreError, match="lists other images than"):
        check()
    (tmp_path / "b_test.txt").write_text("000015 maybe\n")
    with pytest.raises(StoreError, match=r"b_test.txt:1: '000015 maybe' is not"):
        check()
    # Kinds E, H and B: bytes that are no text, lines by one rule, names that come twice.
    for content, told in (
        ("000015 1 caf\u00e9".encode("latin-1"), "not UTF-8 .*; convert the file"),
        ("\ufeff000015 1\n000015 -1\n".encode(), r"b_test.txt:2: '000015' is listed above as well; keep one line"),
        ("000015\u2028 1\n\n".encode(), "lists other images than"),
    ):
        (tmp_path / "b_test.txt").write_bytes(content)
        with pytest.raises(StoreError, match=told):
            check()

    with pytest.raises(RecipeError, match="either `prompts`, a store of class prompts, or `train`"):
        check(prompts="p")


def test_kind_b_two_images_of_one_name_are_no_line_of_a_list(lists):
    keys = [f"JPEGImages/{n:06d}.jpg" for n in range(30)]
    store = Store([0] * 31, keys=[*keys, "more/000003.jpg"])
    MultiLabel(store="s", labels=lists[0], prompts="p").check({"s": store, "p": PROMPTS}.__getitem__)  # is not asked
    store = Store([0] * 31, keys=[*keys, "more/000016.jpg"])
    with pytest.raises(StoreError, match=r"'JPEGImages/000016\.jpg' and 'more/000016\.jpg' are both called '000016'"):
        MultiLabel(store="s", labels=lists[0], prompts="p").check({"s": store, "p": PROMPTS}.__getitem__)


def test_of_two_classes_there_is_an_area_under_the_curve():
    label = [0, 1, 1, 0, 1, 0, 0, 1]
    score = torch.tensor([0.1, 0.9, 0.4, 0.5, 0.8, 0.2, 0.3, 0.35])
    images = Store(torch.stack([1 - score, score, 0 * score, 0 * score], 1), label=label)
    found = run(ZeroShot(store="s", prompts="p"), Teacher(), s=images, p=Store(None, [0, 1], [0, 1]))
    assert found["ROC-AUC"] == pytest.approx(roc_auc_score(label, score / (score**2 + (1 - score) ** 2).sqrt()))
    assert found["ROC-AUC.chance"] == 0.5
    assert "ROC-AUC" not in run(Knn(train="s", store="s", k=3), Teacher(), s=WHOLE)


@pytest.mark.parametrize("temperature", [0.07, 0.01, 1e-3])
def test_a_low_temperature_lets_the_nearest_decide_and_no_vote_overflows(temperature):
    """exp(cosine / temperature) is more than float32 holds below about 0.011; CLIP's own is 0.01."""
    found = run(Knn(train="s", store="s", k=5, temperature=temperature), Teacher(), s=WHOLE)
    nearest = run(Knn(train="s", store="s", k=1), Teacher(), s=WHOLE)
    assert found["top-1"] > 0.5 and (temperature > 1e-3 or found["top-1"] == nearest["top-1"])


def test_long_learning_and_ranking_tell_how_far_they_are(lists, every_step, monkeypatch):
    said = []
    monkeypatch.setattr(_ranking, "_MOST", 40)
    with heard_by(said.append):
        run(LinearProbe(train="s", store="s", l2=[1e-2], steps=7), Teacher(), s=WHOLE)
        run(SgdProbe(train="s", store="s", rates=[0.1], epochs=3, batch=30), Teacher(), s=WHOLE)
        pictures = Store(FEATURES[:30], keys=[f"JPEGImages/{n:06d}.jpg" for n in range(30)])
        run(MultiLabel(store="s", labels=lists[0], train="s", steps=7, l2=[1e-2]), Teacher(), s=pictures)
    told = "\n".join(said)
    assert "linear_probe: L2 of 0.01, steps at most: 1/7  " in told and "sgd_probe: steps of SGD 1/" in told
    assert "multi_label: L2 of 0.01, steps at most: 1/7  " in told
    assert "items ranked: 40/90  " in told and "items ranked: 80/90  " in told
