import pytest

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
