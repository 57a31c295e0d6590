"""Durable files: the old content or the new, on every failure."""

import errno
import os
from pathlib import Path

import pytest

from recorder.process import files


def test_a_file_is_replaced_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "state"
    files.write(path, b"old")
    files.write(path, b"new", mode=0o600)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [found.name for found in tmp_path.iterdir()] == ["state"]


def test_a_created_file_is_open_at_its_end(tmp_path: Path) -> None:
    file = files.create(tmp_path / "segment", b"head,", flags=os.O_APPEND)
    files.write_all(file, b"body")
    os.close(file)
    assert (tmp_path / "segment").read_bytes() == b"head,body"


def test_the_content_is_synced_before_the_rename_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, done = tmp_path / "state", []
    sync, replace = os.fsync, os.replace

    def fsync(file: int) -> None:
        done.append("folder" if os.path.isdir(f"/proc/self/fd/{file}") or path.exists() else "file")
        sync(file)

    def rename(old: Path, new: Path) -> None:
        done.append("rename")
        replace(old, new)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", rename)
    files.write(path, b"new")
    assert done == ["file", "rename", "folder"]


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_failing_disk_leaves_the_old_content(step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state"
    files.write(path, b"old")

    def fails(*_arguments: object) -> int:
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as patch:
        patch.setattr(os, step, fails)
        with pytest.raises(OSError, match="no space"):
            files.write(path, b"new")
    assert path.read_bytes() == b"old"
    assert [found.name for found in tmp_path.iterdir()] == ["state"]
