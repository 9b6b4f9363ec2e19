"""Files under their final names: publishing, hashing, folders, and derived files written atomically."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from download_kit import sha256
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batch_runner.download import (
    MissingFileError,
    TargetExists,
    free_bytes,
    make_batch_folder,
    publish,
    sha256_of,
    sidecar_of,
    write_atomically,
)
from batch_runner.errors import DiskError, ExitCode


@pytest.fixture
def part_path(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4.part"
    path.write_bytes(b"video")
    sidecar_of(path).write_text("{}")
    return path


@pytest.fixture
def final_path(tmp_path: Path) -> Path:
    return tmp_path / "clip.mp4"


@pytest.fixture
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("outside") / "precious"
    path.write_bytes(b"precious")
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fail_fsync(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    calls: list[int] = []

    def fsync(descriptor: int) -> None:
        calls.append(descriptor)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    return calls


def refuse_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object, **__: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", link)


# publish


@pytest.mark.parametrize("has_links", [True, False])
def test_a_published_file_has_its_final_name_alone(
    part_path: Path,
    final_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    has_links: bool,  # noqa: FBT001 - parameter
) -> None:
    if not has_links:
        refuse_links(monkeypatch)
    publish(part_path, final_path)
    assert names(final_path.parent) == ["clip.mp4"]
    assert final_path.read_bytes() == b"video"


@pytest.mark.parametrize("has_links", [True, False])
def test_publishing_never_overwrites(
    part_path: Path,
    final_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    has_links: bool,  # noqa: FBT001 - parameter
) -> None:
    if not has_links:
        refuse_links(monkeypatch)
    final_path.write_bytes(b"older")
    with pytest.raises(TargetExists):
        publish(part_path, final_path)
    assert final_path.read_bytes() == b"older"
    assert part_path.read_bytes() == b"video"
    assert sidecar_of(part_path).exists()


def test_a_run_killed_between_link_and_unlink_is_finished(part_path: Path, final_path: Path) -> None:
    os.link(part_path, final_path)
    publish(part_path, final_path)
    assert names(final_path.parent) == ["clip.mp4"]
    assert final_path.read_bytes() == b"video"


def test_a_link_planted_under_the_final_name_is_neither_followed_nor_replaced(
    part_path: Path, final_path: Path, outside: Path
) -> None:
    final_path.symlink_to(outside)
    with pytest.raises(TargetExists):
        publish(part_path, final_path)
    assert final_path.is_symlink()
    assert outside.read_bytes() == b"precious"


def test_a_link_from_the_final_name_to_the_part_is_not_taken_for_the_file(part_path: Path, final_path: Path) -> None:
    final_path.symlink_to(part_path)
    with pytest.raises(TargetExists):
        publish(part_path, final_path)
    assert part_path.read_bytes() == b"video"


def test_a_link_planted_under_the_part_name_is_not_published(part_path: Path, final_path: Path, outside: Path) -> None:
    part_path.unlink()
    part_path.symlink_to(outside)
    with pytest.raises(DiskError, match="symbolic link"):
        publish(part_path, final_path)
    assert not final_path.exists()


def test_publishing_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError):
        publish(tmp_path / "no.part", tmp_path / "no.mp4")


def test_a_folder_that_cannot_be_synced_is_fatal(
    part_path: Path, final_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = fail_fsync(monkeypatch)
    with pytest.raises(DiskError, match="durable") as caught:
        publish(part_path, final_path)
    assert len(calls) == 1
    assert caught.value.exit_code is ExitCode.DISK


# sha256_of, free_bytes


def test_a_file_is_measured_and_hashed(tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000
    (tmp_path / "a").write_bytes(data)
    assert sha256_of(tmp_path / "a") == (len(data), sha256(data))


def test_only_regular_files_are_hashed(tmp_path: Path, outside: Path) -> None:
    (tmp_path / "link").symlink_to(outside)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DiskError, match="symbolic link"):
        sha256_of(tmp_path / "link")
    with pytest.raises(DiskError, match="regular"):
        sha256_of(tmp_path / "pipe")
    with pytest.raises(DiskError):
        sha256_of(tmp_path)
    with pytest.raises(MissingFileError):
        sha256_of(tmp_path / "missing")


def test_free_space_is_told(tmp_path: Path) -> None:
    assert free_bytes(tmp_path) > 0
    with pytest.raises(DiskError):
        free_bytes(tmp_path / "missing")


# make_batch_folder


def test_a_batch_folder_is_made_with_its_parents_and_found_again(tmp_path: Path) -> None:
    folder = make_batch_folder(tmp_path / "a" / "b", "batch")
    assert folder == tmp_path / "a" / "b" / "batch"
    (folder / "kept").touch()
    assert make_batch_folder(tmp_path / "a" / "b", "batch") == folder
    assert names(folder) == ["kept"]


def test_a_batch_folder_that_leads_elsewhere_is_refused(tmp_path: Path, outside: Path) -> None:
    (tmp_path / "batch").symlink_to(outside.parent)
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("batch", "file", "dangling", "..", ".", "", "a/b", "../x", "a\0b"):
        with pytest.raises(DiskError):
            make_batch_folder(tmp_path, name)
    assert names(tmp_path) == ["batch", "dangling", "file"]
    assert names(outside.parent) == ["precious"]


def test_an_output_folder_may_be_a_link_the_user_named(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "outputs").symlink_to(tmp_path / "real")
    make_batch_folder(tmp_path / "outputs", "batch")
    assert (tmp_path / "real" / "batch").is_dir()


def test_an_output_folder_that_is_a_file_is_a_disk_error(tmp_path: Path) -> None:
    (tmp_path / "outputs").touch()
    with pytest.raises(DiskError):
        make_batch_folder(tmp_path / "outputs", "batch")


# write_atomically


def test_a_new_file_is_written(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    assert write_atomically(path, [b"one\n", b"two\n"])
    assert path.read_bytes() == b"one\ntwo\n"
    assert names(tmp_path) == ["results.jsonl"]


def test_identical_content_is_left_untouched(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_bytes(b"one\ntwo\n")
    os.utime(path, ns=(1, 1))
    before, folder_before = path.stat(), tmp_path.stat().st_mtime_ns
    assert not write_atomically(path, [b"one\n", b"", b"two\n"])
    after = path.stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)
    assert tmp_path.stat().st_mtime_ns == folder_before


def test_every_byte_is_durable_before_the_file_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, seen = tmp_path / "results.jsonl", []

    def fsync(descriptor: int) -> None:
        seen.append((os.fstat(descriptor).st_size, path.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    write_atomically(path, [b"one\n", b"two\n"])
    assert seen[0] == (8, False), "the file first, with all of its bytes"
    assert [exists for _, exists in seen[1:]] == [True], "then the folder"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(st.one_of(st.none(), st.binary(max_size=12)), st.lists(st.binary(max_size=5), max_size=5))
def test_any_content_becomes_any_other(tmp_path: Path, old: bytes | None, chunks: list[bytes]) -> None:
    path = tmp_path / "results.jsonl"
    path.unlink(missing_ok=True)
    if old is not None:
        path.write_bytes(old)
    assert write_atomically(path, chunks) == (old != b"".join(chunks))
    assert path.read_bytes() == b"".join(chunks)
    assert names(tmp_path) == ["results.jsonl"]


def test_a_long_common_beginning_is_copied(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    start = os.urandom(700_000)
    path.write_bytes(start + b"old")
    assert write_atomically(path, [start, b"new"])
    assert path.read_bytes() == start + b"new"


def test_leftovers_of_a_killed_run_are_removed_even_when_nothing_changes(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_bytes(b"one")
    (tmp_path / ".results.jsonl.0badcafe.tmp").write_bytes(b"half")
    (tmp_path / ".summary.json.0badcafe.tmp").write_bytes(b"another's")
    assert not write_atomically(path, [b"one"])
    assert names(tmp_path) == [".summary.json.0badcafe.tmp", "results.jsonl"]


def test_a_temporary_file_that_is_being_written_is_left_to_its_writer(tmp_path: Path) -> None:
    temp_path = tmp_path / ".results.jsonl.0badcafe.tmp"
    with temp_path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert write_atomically(tmp_path / "results.jsonl", [b"one"])
        assert temp_path.exists()


def test_two_writers_of_one_file_at_once_both_leave_whole_files(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"

    def chunks() -> Iterator[bytes]:
        yield b"outer 1\n"
        write_atomically(path, [b"inner\n"])
        assert path.read_bytes() == b"inner\n"
        yield b"outer 2\n"

    assert write_atomically(path, chunks())
    assert path.read_bytes() == b"outer 1\nouter 2\n"
    assert names(tmp_path) == ["results.jsonl"]


def test_a_link_under_the_name_is_replaced_not_followed(tmp_path: Path, outside: Path) -> None:
    path = tmp_path / "summary.json"
    path.symlink_to(outside)
    assert write_atomically(path, [b"precious"])
    assert not path.is_symlink()
    assert outside.read_bytes() == b"precious"
    os.link(outside, tmp_path / "hard")
    assert write_atomically(tmp_path / "hard", [b"new"])
    assert outside.read_bytes() == b"precious"


def test_a_folder_under_the_name_is_a_disk_error(tmp_path: Path) -> None:
    (tmp_path / "summary.json").mkdir()
    with pytest.raises(DiskError):
        write_atomically(tmp_path / "summary.json", [b"one"])
    assert names(tmp_path) == ["summary.json"]


def test_when_the_content_breaks_off_the_old_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_bytes(b"old")

    def chunks() -> Iterator[bytes]:
        yield b"ne"
        raise LookupError

    with pytest.raises(LookupError):
        write_atomically(path, chunks())
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["results.jsonl"]


def test_when_the_disk_refuses_to_sync_the_old_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "results.jsonl"
    path.write_bytes(b"old")
    calls = fail_fsync(monkeypatch)
    with pytest.raises(DiskError):
        write_atomically(path, [b"new"])
    assert len(calls) == 1
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["results.jsonl"]
