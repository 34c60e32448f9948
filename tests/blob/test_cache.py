"""What the payload cache keeps, and what it gives up."""

from __future__ import annotations

from pathlib import Path

from durableflow_blob.cache import PayloadCache


def kept(cache: PayloadCache, *keys: str) -> list[str]:
    return [key for key in keys if cache.get(key) is not None]


def test_memory_keeps_no_more_than_its_bytes_and_what_was_used_last():
    cache = PayloadCache(10, None, 0)
    cache.put("a", b"12345")
    cache.put("b", b"12345")
    cache.get("a")
    cache.put("c", b"12345")

    assert kept(cache, "a", "b", "c") == ["a", "c"]


def test_a_folder_keeps_no_more_than_its_bytes(tmp_path: Path):
    cache = PayloadCache(0, tmp_path, 10)
    for key in ("a", "b", "c"):
        cache.put(key, b"12345")
    cache.put("too large", b"x" * 11)

    assert kept(cache, "a", "b", "c", "too large") == ["b", "c"]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) == 10


def test_a_payload_whose_file_somebody_deletes_can_be_kept_again(tmp_path: Path):
    cache = PayloadCache(0, tmp_path, 10)
    cache.put("a", b"12345")
    (path,) = (path for path in tmp_path.rglob("*") if path.is_file())
    path.unlink()

    assert kept(cache, "a") == []
    cache.put("a", b"12345")
    assert kept(cache, "a") == ["a"]
