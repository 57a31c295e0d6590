"""The dashboards of Grafana: they are what their code makes, and every panel says what it shows."""

import os
import re
import subprocess
from typing import Any

import pytest
from support.database_server import ROOT
from support.machine.prometheus import FILES, dashboards, panel_queries

from recorder.watchdog.pages.metrics import METRICS

UNITS = {"none", "s", "bytes", "Bps", "cps", "reqps", "percentunit"}
TITLES = {"System Overview", "Collector Health", "Processor Performance", "API Metrics"}


@pytest.fixture(scope="module")
def boards() -> dict[str, dict[str, Any]]:
    return dashboards()


@pytest.mark.timeout(300)
def test_the_files_are_what_their_code_makes() -> None:
    done = subprocess.run([".ci/dashboards", "--check"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode and "differ" not in done.stderr and os.environ.get("CI") != "true":
        pytest.skip(f"Grafana's SDK cannot be installed here: {done.stderr[-300:]}")
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_are_the_four_dashboards_that_link_to_each_other(boards: dict[str, dict[str, Any]]) -> None:
    assert {board["title"].removeprefix("Tapedeck / ") for board in boards.values()} == TITLES
    assert len({board["uid"] for board in boards.values()}) == len(TITLES)
    for board in boards.values():
        assert board["timezone"] == "utc"
        assert board["links"][0]["tags"] == board["tags"] == ["tapedeck"]


def check_figures(panel: dict[str, Any], place: str) -> None:
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, place
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, place
    assert panel["targets"], place


def test_every_panel_has_words_a_unit_a_source_and_a_place_of_its_own(boards: dict[str, dict[str, Any]]) -> None:
    for name, board in boards.items():
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"]) <= 16, name
        taken: set[tuple[int, int]] = set()
        for panel in board["panels"]:
            place = f"{name}: {panel['title']}"
            assert len(panel["description"]) > 30, place
            assert panel["description"].endswith("."), place
            if panel["type"] != "text":
                check_figures(panel, place)
            grid = panel["gridPos"]
            across, down = range(grid["x"], grid["x"] + grid["w"]), range(grid["y"], grid["y"] + grid["h"])
            cells = {(x, y) for x in across for y in down}
            assert grid["x"] + grid["w"] <= 24, place
            assert not cells & taken, place
            taken |= cells


def test_limits_turn_from_green_to_red_in_the_right_direction(boards: dict[str, dict[str, Any]]) -> None:
    for name, board in boards.items():
        for panel in filter(lambda one: one["type"] != "text", board["panels"]):
            steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
            values = [step["value"] for step in steps]
            assert values[0] is None, (name, panel["title"])
            assert values[1:] == sorted(values[1:]), (name, panel["title"])
            if len(steps) > 1:
                colours = [step["color"] for step in steps]
                allowed = ["green", "yellow", "red"], ["red", "yellow", "green"], ["green", "red"]
                assert colours in allowed, (name, panel["title"])


def test_queries_and_rules_name_metrics_that_exist() -> None:
    known = {spec.name for spec in METRICS}
    recorded = set(re.findall(r"record: (\S+)", (FILES / "rules" / "recording.yml").read_text()))
    texts = [query.expr for query in panel_queries()]
    texts += [path.read_text() for path in (FILES / "rules").glob("*.yml")]
    named = {name for text in texts for name in re.findall(r"(?<![\w:])tapedeck_\w+(?![\w:])", text)}
    assert len(named) > 40
    assert named - known == set()
    used = {name for text in texts for name in re.findall(r"\b(?:venue:)?tapedeck(?:_\w+)?:\w+(?:(?::\w+)?)", text)}
    assert used == recorded
