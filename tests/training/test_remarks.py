"""A student is told when its teacher's targets say nothing, once and with what helps."""

from distillkit.losses._sharpness import cosines, scale_for
from distillkit.store.reading.reader import FeatureStore


def test_targets_that_are_nearly_one_hot_are_told_before_the_first_step(student):
    code, err = student("losses.0.logit_scale=5000.0", "optim.epochs=1.0")
    assert code == 0, err
    told = [line for line in err.splitlines() if "nearly one-hot" in line]
    assert len(told) == 1 and told[0].startswith("affinity: ") and told[0].endswith("see distillkit suggest-scale")


def test_flat_ones_are_too_and_a_good_scale_is_not(student):
    code, err = student("losses.0.logit_scale=0.01", 'losses.1={kind="feature_regression"}', "optim.epochs=1.0")
    assert code == 0 and "affinity: the teacher's targets are nearly flat" in err
    images, texts = (FeatureStore(student.stores / name) for name in ("images", "texts"))
    good = scale_for(cosines(images.read("image", images.ok_rows), texts.read("text", texts.ok_rows)))
    settings = (f"losses.0.logit_scale={good}", 'losses.1={kind="feature_regression"}', "optim.epochs=1.0")
    code, err = student(*settings, words=["--overwrite"])
    assert code == 0 and "nearly" not in err, err
