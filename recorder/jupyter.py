"""JupyterLab on `notebooks/`: on loopback, behind a token, run in place of this process.

The token is that of the settings (JUPYTER_TOKEN), or one made at the first start and kept in `<home>/jupyter.token`,
which only its owner may read. It goes to the server through the environment: command lines and logs are read by others.
"""

import importlib.util
import os
import secrets
import stat
import sys
from pathlib import Path
from typing import NoReturn

from recorder.errors import ConfigError
from recorder.settings import Settings

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
_TOKEN_BYTES = 24


def token_file(home: Path) -> Path:
    """Where the token is kept that was not given."""
    return home / "jupyter.token"


def runtime_folder(home: Path) -> Path:
    """Where a running server notes its process id, its port and its token, for its owner only."""
    return home / "jupyter" / "runtime"


def token(settings: Settings) -> str:
    """What a browser must show.

    Raises:
        ConfigError: the file of the token cannot be written or read, or others may read it.
    """
    if settings.jupyter.token is not None:
        return settings.jupyter.token.get_secret_value()
    path = token_file(settings.home)
    try:
        settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _write(path, secrets.token_urlsafe(_TOKEN_BYTES))
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ConfigError(f"{path} can be read by others: chmod 600 it, or delete it to have a new token made")
        found = path.read_text().strip()
    except OSError as error:
        raise ConfigError(f"{path} cannot be written or read ({error.strerror}); set JUPYTER_TOKEN") from error
    if not found:
        raise ConfigError(f"{path} is empty: delete it to have a new token made")
    return found


def _write(path: Path, text: str) -> None:
    """Whole or not at all, and nobody else's at any moment; a twin that was quicker wins."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text + "\n")
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def command(settings: Settings) -> list[str]:
    """The server's command line; it holds no secret."""
    options = {
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": settings.jupyter.port,
        "ServerApp.port_retries": 0,  # the settings say where it is
        "ServerApp.open_browser": False,
        "ServerApp.root_dir": NOTEBOOKS,
        "ServerApp.allow_unauthenticated_access": False,
        "ServerApp.allow_root": os.geteuid() == 0,
        "FileCheckpoints.checkpoint_dir": settings.home / "jupyter" / "checkpoints",
    }
    return [sys.executable, "-m", "jupyterlab", *(f"--{name}={value}" for name, value in options.items())]


def environment(settings: Settings) -> dict[str, str]:
    """Its environment: the token, and folders of its own in the home, so that nobody's configuration opens it."""
    own, url = settings.home / "jupyter", settings.database.url
    return {
        **settings.environment(),
        **({"DATABASE_URL": url.get_secret_value()} if url is not None else {}),  # it may stand in .env, elsewhere
        "JUPYTER_TOKEN": token(settings),
        "JUPYTER_CONFIG_DIR": str(own / "config"),
        "JUPYTER_DATA_DIR": str(own / "data"),
        "JUPYTER_RUNTIME_DIR": str(runtime_folder(settings.home)),
        "IPYTHONDIR": str(own / "ipython"),
    }


def main(settings: Settings) -> NoReturn:
    """Become the server.

    Raises:
        ConfigError: JupyterLab or the notebooks are not there, or there is no token to be had.
    """
    if importlib.util.find_spec("jupyterlab") is None:
        raise ConfigError("the package jupyterlab is not installed: run `make test-analysis`, or leave jupyter.enabled")
    if not NOTEBOOKS.is_dir():
        raise ConfigError(f"there is no {NOTEBOOKS}: run from a clone of the project, or leave jupyter.enabled")
    words, environ = command(settings), environment(settings)
    runtime_folder(settings.home).mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chdir(NOTEBOOKS)
    os.execve(words[0], words, environ)
