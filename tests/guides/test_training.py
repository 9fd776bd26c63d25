"""docs/training.md: its commands run, its code runs, its knobs exist."""

import re
import shutil
import tomllib
from pathlib import Path

import pytest
import torch
from torch import nn

from distillkit.recipe import Data, Optim, TrainRecipe, load
from distillkit.training.schedule import learning_rate
from tests.guides.test_readme import shell  # noqa: F401

TEXT = (Path(__file__).parents[2] / "docs/training.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def code(containing):
    (block,) = [block for block in blocks("python") if containing in block]
    return block


@pytest.fixture
def ready(recipes, run_cli, tmp_path):
    """The toy stores, and the recipes where the page has them."""
    assert run_cli("extract-teacher", recipes[0])[0] == 0
    (tmp_path / "pipelines/extract").mkdir(parents=True)
    shutil.copy(recipes[0], tmp_path / "pipelines/extract/my_images.toml")
    text = recipes[1].read_text().replace("epochs = 6", "epochs = 2")
    (tmp_path / "pipelines/my_student.toml").write_text(text)
    return tmp_path


@pytest.mark.long
def test_commands_for_one_process(ready, shell):  # noqa: F811
    plan, train, anew = (line.split("   #")[0].strip() for line in blocks("sh")[1].splitlines())
    assert "ms a step" in shell(plan).stdout
    assert "trained 8 steps" in shell(train).stderr
    assert "the old run is now" in shell(anew).stderr


def test_the_command_that_writes_a_recipe(ready, shell):  # noqa: F811
    (line,) = blocks("sh")[0].splitlines()
    written = shell(line.replace("stores/mine", "out"))
    assert written.stdout == "pipelines/mine.toml\n" and load(ready / "pipelines/mine.toml", kind=TrainRecipe).evals


@pytest.mark.long
@pytest.mark.parametrize("number", [2, 3])
def test_commands_for_several_processes(ready, shell, number):  # noqa: F811
    """Eight become two, and two nodes one: the rest of the line is as written."""
    (line,) = blocks("sh")[number].splitlines()
    line = line.replace("--nproc-per-node 8", "--nproc-per-node 2").replace("--nnodes 2", "--nnodes 1")
    line = line.replace("first-node:29500", "127.0.0.1:0")
    assert "2 processes" in shell(f"OMP_NUM_THREADS=1 {line}").stderr


def test_python_is_the_command_line(ready, monkeypatch):
    monkeypatch.chdir(ready)
    exec(code("distillkit.extract("), {})
    assert (ready / "out/run/student.json").is_file()


def test_the_plain_loop_learns(ready):
    made: dict = {}
    exec(code("torch.randperm"), made)
    torch.manual_seed(0)
    student = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 32))
    losses = made["train"](str(ready / "out/images"), student, 16, 20, 32)
    assert len(losses) == 20 and losses[-1] < losses[0]


def test_the_lightning_module_takes_the_steps_of_the_recipe(ready, tmp_path):
    """A real Trainer over three epochs, and one that goes on within the second: the batches and rates of ours."""
    import lightning

    made: dict = {}
    exec(code("LightningModule"), made)
    seen: list = []

    class Watch(lightning.Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, number):
            seen.append((batch.step, batch.keys, trainer.optimizers[0].param_groups[0]["lr"]))
            if trainer.global_step == 6:
                trainer.save_checkpoint(tmp_path / "six.ckpt")

    def fit(checkpoint=None):
        module = made["lightning_module"](str(ready / "pipelines/my_student.toml"))
        quiet = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False)
        lightning.Trainer(accelerator="cpu", callbacks=[Watch()], max_epochs=3, **quiet).fit(
            module, ckpt_path=checkpoint
        )
        return module

    module = fit()
    fit(tmp_path / "six.ckpt")
    assert [step for step, _, _ in seen] == [*range(12), *range(6, 12)]
    assert all(keys == module.batches.at(step).keys for step, keys, _ in seen)
    optim = load(ready / "pipelines/my_student.toml", kind=TrainRecipe).optim
    assert [rate for _, _, rate in seen] == [learning_rate(step, 4, optim) for step, _, _ in seen]


@pytest.mark.slow
def test_the_command_for_ray(ready, shell):  # noqa: F811
    pytest.importorskip("ray.train")
    (line,) = blocks("sh")[4].splitlines()
    line = line.replace("ray.workers=8", "ray.workers=2 --set ray.cpus=1.0 --set ray.gpus=0.0")
    assert "2 processes" in shell(line).stderr


def test_every_knob_of_the_page_exists(recipes):
    rows = re.findall(r"^\| (`.*?) \|", TEXT, re.MULTILINE)
    names = [name for row in rows for name in re.findall(r"`(\w+(?:\.\w+)+)", row)]
    assert len(names) >= 12
    for name in names:
        section, *rest = name.split(".")
        fields = {"data": Data, "optim": Optim}[section].model_fields
        assert rest[0] in fields, name
    for block in blocks("toml"):
        assert load_with(recipes[1], block), block


def test_both_pages_show_a_recipe_that_is_measured():
    """Evals and a baseline as tables, validation and several students at least by name; the scale as the teacher's."""
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    there = [tomllib.loads(block) for block in blocks("toml")]
    for table in ("evals", "baseline", "students", "validation"):
        assert any(table in one for one in there), table
    (own,) = [tomllib.loads(one) for one in re.findall(r"```toml\n(.*?)```", readme, re.DOTALL) if "[student]" in one]
    assert own["evals"] and own["baseline"] and "`[validation]`" in readme and "`[[students]]`" in readme
    assert "teacher" in {term.get("logit_scale") for term in own["losses"]}


def load_with(recipe, block):
    """The toy recipe with a block of the page in place of what it says itself."""
    content = tomllib.loads(recipe.read_text())
    for key, value in tomllib.loads(block).items():
        content[key] = content[key] | value if isinstance(value, dict) and key in content else value
    if "students" in content:
        del content["student"]
    return TrainRecipe.model_validate(content)
