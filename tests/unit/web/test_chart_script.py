"""The script of the charts: fetched by its hash, and served as it was published."""

import hashlib
import json

import pytest
from support.database_server import ROOT

from recorder.web.assets import Assets
from recorder.web.routes.market_pages.charts import SCRIPT

ASSETS = ROOT / "recorder" / "web" / "assets"


def test_the_file_served_has_the_expected_hash_and_its_licence_beside_it() -> None:
    served = Assets().get(SCRIPT)
    if served is None:
        pytest.skip("charts are not installed, because npm's registry could not be reached: make setup")
    assert hashlib.sha256(served.body).hexdigest() == (ASSETS / "sha256").read_text().split()[0]
    vendor = ROOT / "recorder" / "web" / "static" / "vendor"
    assert "Apache License" in (vendor / "lightweight-charts.LICENSE").read_text()
    assert "TradingView" in (vendor / "lightweight-charts.NOTICE").read_text()


def test_the_lock_pins_each_package_by_its_hash_and_names_no_host() -> None:
    text = (ASSETS / "package-lock.json").read_text()
    packages = {name: one for name, one in json.loads(text)["packages"].items() if name}
    assert packages["node_modules/lightweight-charts"]["version"] == "5.2.1"
    assert all(one["integrity"].startswith("sha512-") for one in packages.values())
    assert "://" not in text
