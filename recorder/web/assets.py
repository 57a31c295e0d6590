"""Files that browsers get: read once, served under a name that changes with their content."""

import hashlib
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent / "static"
_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".json": "application/json",
    ".txt": "text/plain; charset=utf-8",
}
_LARGEST = 4 << 20
_LEFT_OUT = ("redoc.standalone.js",)  # of a package; no page of ours uses it


class Asset(NamedTuple):
    """One file."""

    content_type: str
    body: bytes


class Assets:
    """The files of a folder and of those that are mounted into it, by their path.

    All have one digest in their address, so that a module may import its neighbours by relative names, and a changed
    file makes all addresses new.
    """

    def __init__(self, folder: Path = FOLDER, mounted: dict[str, Path] | None = None) -> None:
        """
        Args:
            folder: Its files, at any depth.
            mounted: Further folders, by the prefix of their paths.
        """
        self._assets: dict[str, Asset] = {}
        self._add("", folder)
        for prefix, place in (mounted or {}).items():
            self._add(f"{prefix}/", place)
        digest = hashlib.sha256()
        for path, asset in sorted(self._assets.items()):
            digest.update(f"{path}\0{len(asset.body)}\0".encode() + asset.body)
        self.version = digest.hexdigest()[:12]

    def _add(self, prefix: str, folder: Path) -> None:
        for file in sorted(folder.rglob("*")):
            kind = _TYPES.get(file.suffix)
            if kind is None or file.name in _LEFT_OUT or file.is_symlink() or not file.is_file():
                continue
            if file.stat().st_size <= _LARGEST:
                self._assets[prefix + file.relative_to(folder).as_posix()] = Asset(kind, file.read_bytes())

    def url(self, path: str) -> str:
        """Return the address of a file."""
        return f"/static/{self.version}/{path}"

    def get(self, path: str) -> Asset | None:
        """Return a file; None where there is none."""
        return self._assets.get(path)
