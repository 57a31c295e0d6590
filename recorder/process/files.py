"""Durable files: a reader, and a machine after a power cut, finds the old content or the new, never a part.

The files of the home are for its owner only: they show which markets a desk watches, and some hold secrets.
"""

import contextlib
import os
from pathlib import Path


def keep_private() -> None:
    """Let only its owner read a file or a folder that this process or a child makes from now on."""
    os.umask(0o077)


def make_home(folder: Path) -> None:
    """Make a folder of the home, and those above it that are missing, for their owner only.

    Any command may be the first to write into the home, with any umask.

    Raises:
        OSError: the folder cannot be made.
    """
    if not folder.is_dir():
        make_home(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def write(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace a file durably: write under a temporary name, sync, rename, sync the folder.

    Args:
        path: The file; its folder must exist.
        data: The whole content.
        mode: Permissions of the file, less those that the umask takes away.

    Raises:
        OSError: the disk does not take it; the old content stands.
    """
    os.close(create(path, data, mode=mode))


def create(path: Path, data: bytes, *, mode: int = 0o600, flags: int = 0) -> int:
    """Do as `write` does, and keep the file open.

    Args:
        path: The file; its folder must exist.
        data: What it begins with.
        mode: Permissions of the file, less those that the umask takes away.
        flags: For os.open, besides those that writing needs.

    Returns:
        The descriptor of the file, at its end. The caller closes it.

    Raises:
        OSError: the disk does not take it; the old content stands.
    """
    # Several processes may replace one file: each needs a temporary name of its own.
    temporary = path.with_name(f"{path.name}.{os.getpid()}.new")
    file = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | flags, mode)
    try:
        write_all(file, data)
        os.fsync(file)
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError:
        os.close(file)
        with contextlib.suppress(OSError):  # the first error is the one to report
            temporary.unlink(missing_ok=True)
        raise
    return file


def write_all(file: int, data: bytes) -> None:
    """Write all bytes, however many calls it takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def sync_folder(folder: Path) -> None:
    """Make renames in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
