"""The script of the pre-flight as a module; it is no package, because a bare host runs it as one file."""

import importlib.util
import sys
from types import ModuleType

from support.database_server import ROOT

FILE = ROOT / "ansible" / "roles" / "host" / "files" / "preflight.py"


def load() -> ModuleType:
    """Return the script as a module."""
    spec = importlib.util.spec_from_file_location("preflight", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["preflight"] = module
    spec.loader.exec_module(module)
    return module
