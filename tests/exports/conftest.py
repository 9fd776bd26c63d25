import pytest

from distillkit import evaluate
from distillkit.export import export
from tests.exports.world import STUDENTS, extract_pictures, finish


@pytest.fixture(scope="session")
def pictures(tmp_path_factory, teacher_folder):
    """A folder of stores of 288 pictures and their captions."""
    return extract_pictures(tmp_path_factory.mktemp("pictures"), teacher_folder)


@pytest.fixture(scope="session")
def runs(tmp_path_factory, pictures):
    """`runs("pair")`: a finished run of that kind of student; tests leave it as it is."""
    folder, made = tmp_path_factory.mktemp("runs"), {}

    def run(name):
        if name not in made:
            made[name] = finish(folder / name, pictures, STUDENTS[name])
        return made[name]

    return run


@pytest.fixture(scope="session")
def classified(pictures, tmp_path_factory):
    """An OOD student, an image tower that is measured by the teacher's prompts: its run, evaluated; its export as a
    classifier; and what the gate said.
    """
    folder, lines = tmp_path_factory.mktemp("ood"), []
    evals = [{"kind": "zero_shot", "store": f"{pictures}/images", "prompts": f"{pictures}/prompts"}]
    run = finish(folder / "run", pictures, STUDENTS["tokens"], evals)
    evaluate(run)
    return run, export(run, "classifier", out=folder / "out", say=lines.append), lines
