"""JupyterLab on `notebooks/`: on loopback, behind a token; the server replaces this process.

The token is that of the settings (JUPYTER_TOKEN), or one created at the first start and kept in
`<home>/jupyter.token`, which only its owner may read. The server gets it through its environment, because other users
can read command lines and logs.
"""

import importlib.util
import os
import secrets
import stat
import sys
from pathlib import Path
from typing import NoReturn

from recorder.errors import ConfigError
from recorder.process.files import make_home
from recorder.settings import Settings

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
_TOKEN_BYTES = 24


def token_file(home: Path) -> Path:
    """Return the file of the token that was created, not configured."""
    return home / "jupyter.token"


def runtime_folder(home: Path) -> Path:
    """Return the folder where a running server writes its process id, its port and its token, for its owner only."""
    return home / "jupyter" / "runtime"


def token(settings: Settings) -> str:
    """Return the token that a browser must send.

    Raises:
        ConfigError: the file of the token cannot be written or read, or other users may read it.
    """
    if settings.jupyter.token is not None:
        return settings.jupyter.token.get_secret_value()
    path = token_file(settings.home)
    try:
        make_home(settings.home)
        if not path.exists():
            _write(path, secrets.token_urlsafe(_TOKEN_BYTES))
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ConfigError(
                f"{path} can be read by other users: chmod 600 it, or delete it and a new token is created"
            )
        found = path.read_text().strip()
    except OSError as error:
        raise ConfigError(f"{path} cannot be written or read ({error.strerror}); set JUPYTER_TOKEN") from error
    if not found:
        raise ConfigError(f"{path} is empty: delete it and a new token is created")
    return found


def _write(path: Path, text: str) -> None:
    """Write the file in one step, readable by its owner only; a file that another start wrote first stays."""
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
    """Return the command line of the server, which holds no secret."""
    options = {
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": settings.jupyter.port,
        "ServerApp.port_retries": 0,  # the settings name the port
        "ServerApp.open_browser": False,
        "ServerApp.root_dir": NOTEBOOKS,
        "ServerApp.allow_unauthenticated_access": False,
        "ServerApp.allow_root": os.geteuid() == 0,
        "FileCheckpoints.checkpoint_dir": settings.home / "jupyter" / "checkpoints",
    }
    return [sys.executable, "-m", "jupyterlab", *(f"--{name}={value}" for name, value in options.items())]


def environment(settings: Settings) -> dict[str, str]:
    """Return the environment of the server: the token, and folders in the home.

    The folders keep the user's own Jupyter configuration from changing how the server is protected.
    """
    own, url = settings.home / "jupyter", settings.database.url
    return {
        **settings.environment(),
        **(
            {"DATABASE_URL": url.get_secret_value()} if url is not None else {}
        ),  # it may come from an .env file in another folder
        "JUPYTER_TOKEN": token(settings),
        "JUPYTER_CONFIG_DIR": str(own / "config"),
        "JUPYTER_DATA_DIR": str(own / "data"),
        "JUPYTER_RUNTIME_DIR": str(runtime_folder(settings.home)),
        "IPYTHONDIR": str(own / "ipython"),
    }


def main(settings: Settings) -> NoReturn:
    """Replace this process by the server.

    Raises:
        ConfigError: JupyterLab, the notebooks or the token are missing.
    """
    if importlib.util.find_spec("jupyterlab") is None:
        raise ConfigError("the package jupyterlab is not installed: run `make test-analysis`, or unset jupyter.enabled")
    if not NOTEBOOKS.is_dir():
        raise ConfigError(f"there is no {NOTEBOOKS}: run in a clone of the project, or unset jupyter.enabled")
    words, environ = command(settings), environment(settings)
    make_home(runtime_folder(settings.home))
    os.chdir(NOTEBOOKS)
    os.execve(words[0], words, environ)
