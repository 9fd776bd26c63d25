import numpy as np

from distillkit.system.wording import count, network, one_line, pace, several, size


def test_one_is_one_and_many_are_grouped():
    assert [count(number, "shard") for number in (0, 1, 2, 65_536)] == [
        "0 shards",
        "1 shard",
        "2 shards",
        "65,536 shards",
    ]
    assert count(np.int64(65_536), "row") == "65,536 rows" and count(0.5, "epoch") == "0.5 epochs"
    assert count(1.0, "epoch") == "1 epoch"
    assert count(1, "query", "queries") == "1 query" and count(3, "query", "queries") == "3 queries"


def test_sizes_are_read_at_a_glance():
    told = [size(number) for number in (0, 999, 999.7, 1536, 671.7e9, 2e13)]
    assert told == ["0 B", "999 B", "1 kB", "1.54 kB", "672 GB", "20 TB"]


def test_what_is_slow_is_not_at_rest():
    told = [pace(rate) for rate in (0.031, 0.3, 2.44, 9.96, 310.4, 12_345)]
    assert told == ["0.031 rows/s", "0.3 rows/s", "2.4 rows/s", "10 rows/s", "310 rows/s", "12,345 rows/s"]
    assert pace(3, "images") == "3 images/s"
    assert [pace(1.02), pace(0.999, "images"), pace(1, "queries"), pace(1, "")] == [
        "1 row/s",
        "1 image/s",
        "1 query/s",
        "1 /s",
    ]


def test_what_is_counted_under_a_longer_name_agrees_with_its_number():
    assert [several(number, "link(s) in circles") for number in (1, 2)] == ["1 link in circles", "2 links in circles"]
    assert several(12_345, ".mp4") == "12,345 .mp4"


def test_of_an_error_without_words_its_name_is_told():
    errors = (ValueError("no number\nat 3"), ValueError("\n  at 3"), RuntimeError(), OSError(2, "gone", "a.png"))
    assert [one_line(error) for error in errors] == [
        *("no number", "at 3", "RuntimeError", "[Errno 2] gone: 'a.png'"),
    ]


def test_a_network_is_told_by_name_and_file():
    assert network("ViT-B-32//data/weights/mine.safetensors") == "ViT-B-32 (mine.safetensors)"
    assert network("ViT-B-32/weights/mine.pt") == "ViT-B-32 (mine.pt)"
    for name in ("ViT-L-14/openai", "vit_small_patch14_dinov2.lvd142m", "local-dir:/data/teacher", "hf-hub:a/b/c"):
        assert network(name) == name
