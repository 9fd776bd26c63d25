"""Which device is taken, which errors are those of its memory, and that numbers get there without a wait."""

import pytest
import torch

from distillkit.errors import TeacherError, TrainError
from distillkit.recipe.registry import kinds, resolve
from distillkit.system import device as devices
from distillkit.system.device import device_of, out_of_memory, sent
from tests.pretend import pretend_gpu


@pytest.fixture
def two_gpus(monkeypatch):
    chosen = []
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    monkeypatch.setattr("torch.cuda.set_device", chosen.append)
    return chosen


def test_every_process_of_a_machine_has_its_own_gpu(two_gpus, monkeypatch):
    assert device_of("auto") == torch.device("cuda:0") and device_of("cpu") == torch.device("cpu")
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert device_of("auto") == torch.device("cuda:3") and device_of("cuda:1") == torch.device("cuda:1")
    assert two_gpus == [torch.device("cuda", number) for number in (0, 3, 1)]


def test_a_process_that_is_shown_one_gpu_takes_that(two_gpus, monkeypatch):
    """As `srun --gpus-per-task=1` shows it, whatever its number on the machine."""
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert device_of("auto") == torch.device("cuda:0")


@pytest.mark.parametrize(
    ("kind", "knobs"),
    [
        ("openclip", {"model": "ViT-B-32"}),
        ("timm", {"model": "vit_tiny_patch16_224"}),
        ("run", {"run": "x"}),
    ],
)
def test_a_teacher_is_on_the_gpu_of_its_process(monkeypatch, kind, knobs):
    """Eight ranks that ask live teachers have one on each GPU, and not eight on the first."""
    assert {*kinds("teachers")} == {"openclip", "timm", "run"}, "a new kind is to be asked as well"
    asked = []

    def noted(*a):
        asked.append(a)
        raise LookupError("before anything is loaded")

    monkeypatch.setattr(f"distillkit.teachers.{kind}.device_of", noted)
    with pytest.raises(LookupError):
        resolve("teachers", kind)(**knobs, device="auto")
    assert asked == [("auto", "teacher.device", TeacherError)]


def test_what_cannot_be_used_is_one_line_that_names_the_knob():
    with pytest.raises(
        TrainError, match=r"^device = 'cuda': PyTorch finds no GPU here; see nvidia-smi, or set device to"
    ):
        device_of("cuda", error=TrainError)
    with pytest.raises(
        TeacherError, match=r"^teacher\.device = 'warp': cannot be used here \(.*\); set teacher\.device"
    ):
        device_of("warp", "teacher.device", TeacherError)


FULL = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    torch.AcceleratorError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:114] . DefaultCPUAllocator: can't allocate memory: Error code 12"),
    MemoryError(),
]


@pytest.mark.parametrize("error", FULL, ids=str)
def test_the_end_of_memory_is_known_by_all_its_names(error):
    assert out_of_memory(error)


def test_where_cudnn_finds_no_algorithm_it_depends_on_what_is_left(monkeypatch):
    error = RuntimeError("GET was unable to find an engine to execute this computation")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    for free, wanted in ((200 << 20, True), (20 << 30, False)):
        monkeypatch.setattr("torch.cuda.mem_get_info", lambda free=free: (free, 80 << 30))
        assert out_of_memory(error) is wanted


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
        KeyError("out of memory"),
    ],
    ids=str,
)
def test_other_errors_are_not_taken_for_it(error):
    assert not out_of_memory(error)


def test_numbers_are_sent_without_a_wait():
    with pretend_gpu() as ledger:
        there = sent([1, 2], torch.int64, torch.device("cuda"))
        assert not ledger.waits and not ledger.pageable and there.device.type == "cuda"
        assert there.tolist() == [1, 2]
    assert sent([0.5], torch.float32, torch.device("cpu")).tolist() == [0.5]
    assert devices.pinned(there, torch.device("cpu")) is there
