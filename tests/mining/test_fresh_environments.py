"""The extras in fresh environments: what pip's resolver takes for each, and faiss-gpu where there is no driver.

Slow, and only where a package index can be reached: a gigabyte comes from there.
"""

import json
import os
import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


def run(*command, **environment):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, env=os.environ | environment)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """A new environment's Python, which has pip alone."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder, with_pip=True)
    python = folder / "bin/python"
    if run(python, "-m", "pip", "install", "--dry-run", "--no-deps", "faiss-cpu")[0]:
        pytest.skip("no package index can be reached")
    return python


@pytest.mark.parametrize(
    ("extras", "wanted"),
    [
        ("mining", {"faiss-cpu"}),
        ("mining-gpu", {"faiss-gpu"}),
        ("faiss-gpu", {"faiss-gpu"}),
        ("fp8", {"torchao"}),
        ("mining,mining-gpu", {"faiss-cpu", "faiss-gpu"}),  # pip sees no clash; whoever mines then is told of it
    ],
)
def test_pip_resolves_every_extra(fresh, tmp_path, extras, wanted):
    report = tmp_path / "report.json"
    code, _, err = run(fresh, "-m", "pip", "install", "--dry-run", "--quiet", "--report", report, f"{ROOT}[{extras}]")
    assert code == 0, err
    names = {one["metadata"]["name"].replace("_", "-") for one in json.loads(report.read_bytes())["install"]}
    assert {"torch", "timm", "open-clip-torch"} <= names
    assert names & {"faiss-cpu", "faiss-gpu", "torchao"} == wanted


@pytest.fixture(scope="module")
def with_gpu_wheel(fresh, tmp_path_factory):
    """Python with everything that this one has, but for FAISS, which is faiss-gpu: torch is not fetched again."""
    code, _, err = run(fresh, "-m", "pip", "install", "--quiet", "faiss-gpu")
    assert code == 0, err
    own, here = tmp_path_factory.mktemp("own"), Path(sysconfig.get_paths()["purelib"])
    for path in here.iterdir():
        if not path.name.startswith(("faiss", "numpy", "packaging")) and path.suffix != ".pth":
            (own / path.name).symlink_to(path)
    (site,) = fresh.parents[1].glob("lib/python*/site-packages")
    (site / "others.pth").write_text(f"{own}\n")
    return fresh


def test_the_gpu_wheel_without_a_driver_searches_on_the_cpu_and_says_so(with_gpu_wheel, toy_stores, tmp_path):
    def distillkit(*words):
        return run(with_gpu_wheel, "-m", "distillkit", *words, PYTHONPATH=str(ROOT))

    out = toy_stores / "out"
    code, told, err = distillkit("store", "info", out / "images")
    assert code == 0, err
    assert told.splitlines()[-1].startswith("mining here is by faiss-gpu ") and "on the CPU" in told.splitlines()[-1]
    recipe = tmp_path / "mine.toml"
    recipe.write_text(f'name = "by_gpu_wheel"\nqueries = "{out}/images"\ncorpus = "{out}/texts"\nk = 5\n')
    code, _, err = distillkit("mine-neighbours", recipe, "--set", 'index="gpu_ivf_pq"')
    lines = [line for line in err.splitlines() if line.startswith("error:")]
    assert code == 1 and len(lines) == 1 and "Traceback" not in err
    assert 'index = "gpu_ivf_pq": FAISS finds no GPU here (faiss-gpu ' in lines[0]
    code, _, err = distillkit("mine-neighbours", recipe)
    assert code == 0 and "complete, 40 rows" in err, err


def test_both_at_once_are_one_line(with_gpu_wheel, toy_stores, tmp_path):
    """As `pip install "distillkit[mining,mining-gpu]"` leaves them."""
    found = tmp_path / "faiss_cpu-1.9.dist-info"
    found.mkdir()
    (found / "METADATA").write_text("Metadata-Version: 2.1\nName: faiss-cpu\nVersion: 1.9\n")
    recipe, out = tmp_path / "mine.toml", toy_stores / "out"
    recipe.write_text(f'name = "both"\nqueries = "{out}/images"\ncorpus = "{out}/texts"\nk = 5\n')
    words = ("-m", "distillkit", "mine-neighbours", recipe)
    code, _, err = run(with_gpu_wheel, *words, PYTHONPATH=f"{ROOT}:{tmp_path}")
    lines = [line for line in err.splitlines() if line.startswith("error:")]
    assert code == 1 and len(lines) == 1 and "Traceback" not in err
    assert " and faiss-cpu 1.9 are here together, and each has overwritten files" in lines[0]
