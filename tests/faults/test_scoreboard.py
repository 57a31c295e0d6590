"""The scoreboard counts what there is."""

import re

from rig import ROOT
from scoreboard import EXPERIMENTS, Experiment, verdict


def test_every_experiment_is_listed_and_its_tests_exist() -> None:
    assert list(EXPERIMENTS) == [f"C{number}" for number in range(1, 38)]
    for test in {test for experiment in EXPERIMENTS.values() for test in experiment.tests}:
        file, _, name = test.partition("::")
        assert re.search(rf"^def {name}\(", (ROOT / file).read_text(), re.MULTILINE), test


def test_only_what_ran_and_passed_whole_is_held() -> None:
    one = Experiment("one", ("a", "b"))
    assert verdict(one, {"a": ["passed", "passed"], "b": ["passed"]}) == "held"
    assert verdict(one, {"a": ["passed", "failed"], "b": ["passed"]}) == "NOT HELD"
    assert verdict(one, {"a": ["passed"], "b": ["error"]}) == "NOT HELD"
    assert verdict(one, {"a": ["passed"]}) == "not run"
    assert verdict(one, {"a": ["passed"], "b": ["skipped"]}) == "in part"
    assert verdict(one, {"a": ["skipped"], "b": ["skipped"]}) == "skipped"
    assert verdict(one._replace(rest="more"), {"a": ["passed"], "b": ["passed"]}) == "in part"
    assert verdict(Experiment("none"), {}) == "not covered"
