"""How much memory may still be taken."""

from distillkit.system import memory

MEMINFO = "MemTotal:       16000000 kB\nMemFree:  1000000 kB\nMemAvailable:    8000000 kB\nHugePages_Total:       0\n"


def machine(tmp_path, monkeypatch, **container):
    (tmp_path / "meminfo").write_text(MEMINFO)
    for name, content in container.items():
        (tmp_path / f"memory.{name}").write_text(content)
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_CONTAINER", tmp_path)
    return memory.available_memory()


def test_what_the_system_says(tmp_path, monkeypatch):
    assert machine(tmp_path, monkeypatch) == machine(tmp_path, monkeypatch, max="max\n") == 8_000_000 * 1024


def test_a_container_has_less_and_its_page_cache_can_go(tmp_path, monkeypatch):
    stat = "anon 700\nactive_file 100\ninactive_file 50\n"
    assert machine(tmp_path, monkeypatch, max="1000\n", current="850\n", stat=stat) == 300


def test_this_machine_has_some():
    assert memory.available_memory() > 1 << 20
