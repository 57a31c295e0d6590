"""Files that the package needs besides its code: the migrations and the process list of supervisord.

In a checkout these are links to the top-level `sql/` and `supervisord.conf`; a wheel holds copies.
"""

from pathlib import Path

SQL = Path(__file__).parent / "sql"
SUPERVISORD_CONF = Path(__file__).parent / "supervisord.conf"
