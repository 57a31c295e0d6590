"""Write every dashboard as JSON. usage: python -m dashboards FOLDER"""

import json
import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import api, collector, overview, processor

ALL = (overview.BOARD, collector.BOARD, processor.BOARD, api.BOARD)


def main(folder: Path) -> None:
    """Write the files.

    Args:
        folder: Where to; it exists.

    Raises:
        AssertionError: the types of Grafana's SDK read a file as something else than was written.
    """
    register_default_plugins()
    for board in ALL:
        text = _encoded(board.build())
        assert _encoded(Dashboard.from_json(json.loads(text))) == text, board.uid
        (folder / f"{board.uid}.json").write_text(text)


def _encoded(dashboard: Dashboard) -> str:
    return f"{JSONEncoder(sort_keys=True, indent=1).encode(dashboard)}\n"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
