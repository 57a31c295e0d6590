"""The scoreboard names tests that exist, and judges them strictly."""

from support.scoreboard import EXPERIMENTS, Experiment, files_of, verdict


def test_every_experiment_is_listed_and_each_of_its_tests_exists_once() -> None:
    assert list(EXPERIMENTS) == [f"C{number}" for number in range(1, 51)]
    assert list(EXPERIMENTS) == sorted(EXPERIMENTS, key=lambda name: int(name[1:]))
    for test in {test for experiment in EXPERIMENTS.values() for test in experiment.tests}:
        assert len(files_of(test)) == 1, test


def test_an_experiment_holds_when_every_test_ran_and_passed() -> None:
    one = Experiment("one", ("a", "b"))
    assert verdict(one, {"a": ["passed", "passed"], "b": ["passed"]}) == "held"
    assert verdict(one, {"a": ["passed", "failed"], "b": ["passed"]}) == "NOT HELD"
    assert verdict(one, {"a": ["passed"], "b": ["error"]}) == "NOT HELD"
    assert verdict(one, {"a": ["passed"]}) == "not run"
    assert verdict(one, {"a": ["passed"], "b": ["skipped"]}) == "in part"
    assert verdict(one, {"a": ["skipped"], "b": ["skipped"]}) == "skipped"
    assert verdict(one._replace(rest="more"), {"a": ["passed"], "b": ["passed"]}) == "in part"
    assert verdict(Experiment("none"), {}) == "not covered"
    assert verdict(Experiment("none", waits="a part"), {}) == "waits"
