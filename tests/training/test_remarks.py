"""A student is told when its teacher's targets say nothing, once and with what helps."""

from distillkit.losses._sharpness import cosines, scale_for
from distillkit.store.reading.reader import FeatureStore


def test_targets_that_are_nearly_one_hot_are_told_before_the_first_step(student):
    code, err = student("losses.0.logit_scale=5000.0", "optim.epochs=1.0")
    assert code == 0, err
    told = [line for line in err.splitlines() if "nearly one-hot" in line]
    assert len(told) == 1 and told[0].startswith("affinity: ") and told[0].endswith("see distillkit suggest-scale")


def test_a_term_that_hardly_weighs_is_told_with_its_weight_at_the_first_step_and_no_other(student):
    term = 'losses.1={{kind="feature_regression",name="{}"{}}}'
    code, err = student("losses.0.logit_scale=100.0", term.format("FD", ",weight=0.01"), "optim.epochs=1.0")
    told = [line for line in err.splitlines() if "of the total loss at step 1" in line]
    assert code == 0 and len(told) == 1 and told[0].startswith("FD: 0.") and "([[losses]], 0.01 now)" in told[0], err
    for more in (",weight=1000.0", ",weight=0.01,ramp={weight={to=1.0,start=0,stop=3}}"):
        code, err = student(
            "losses.0.logit_scale=100.0", term.format("FD", more), "optim.epochs=1.0", words=["--overwrite"]
        )
        assert code == 0 and "of the total loss at step 1" not in err, err


def test_flat_ones_are_too_and_a_good_scale_is_not(student):
    code, err = student("losses.0.logit_scale=0.01", 'losses.1={kind="feature_regression"}', "optim.epochs=1.0")
    assert code == 0 and "affinity: the teacher's targets are nearly uniform" in err
    images, texts = (FeatureStore(student.stores / name) for name in ("images", "texts"))
    good = scale_for(cosines(images.read("image", images.ok_rows), texts.read("text", texts.ok_rows)))
    settings = (f"losses.0.logit_scale={good}", 'losses.1={kind="feature_regression"}', "optim.epochs=1.0")
    code, err = student(*settings, words=["--overwrite"])
    assert code == 0 and "nearly" not in err, err
