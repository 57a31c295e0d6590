"""Help, version and completion: quick, in 80 columns, and with every star of a pattern."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import recorder
from recorder.cli import main
from recorder.cli.app import COMMANDS, load

TAPEDECK = Path(sys.executable).with_name("tapedeck")


@pytest.fixture(autouse=True)
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_in_80_columns_with_an_example(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "-h"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert "Example" in text
    assert main([command, "--help"]) == 0
    assert capsys.readouterr().out == text
    assert main(["help", command]) == 0
    assert capsys.readouterr().out.splitlines()[2:] == text.splitlines()[2:]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_listed_command_exists_and_its_summary_fits_its_line(name: str) -> None:
    assert load(name).name == name
    assert len(COMMANDS[name].summary) <= 60


def test_the_list_of_commands_is_complete_in_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    for name, command in COMMANDS.items():
        assert f"  {name}" in text
        assert command.summary in text


def test_tapedeck_alone_shows_the_help_and_nothing_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert out.startswith("Usage: tapedeck")
    assert err == ""


def test_the_stars_of_patterns_survive_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["subscribe", "--help"]) == 0
    out = capsys.readouterr().out
    assert "`'*-USD'`, `top:20`, `'top:20:*-USD'`" in " ".join(out.split())
    assert "'top:20:*/USD'" in out


@pytest.mark.parametrize("words", [["version"], ["--version"]])
def test_the_version_is_printed(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    assert capsys.readouterr().out == f"tapedeck {recorder.__version__}\n"


@pytest.mark.parametrize(
    ("words", "nearest"),
    [
        ("help statsu", "'status'"),
        ("statsu", "'status'"),
        ("settings --jsn", "--json"),
        ("simulate doo", "'do'"),
        ("stop", "'down'"),
    ],
)
def test_a_wrong_word_names_the_nearest(words: str, nearest: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.split()) == 2
    assert nearest in capsys.readouterr().err


def test_help_imports_none_of_the_programs() -> None:
    code = (
        "import sys; from recorder.cli import main; main(['--help']); "
        "print(sorted({'pydantic', 'rich', 'requests', 'psycopg2', 'recorder.settings'} & sys.modules.keys()))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(("typed", "expected"), [("tapedeck subs", "subscriptions"), ("tapedeck record kra", "kraken")])
def test_the_shell_completes_commands_and_venues(typed: str, expected: str) -> None:
    environment = os.environ | {
        "_TAPEDECK_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" ")),
    }  # fmt: skip
    answer = subprocess.run([TAPEDECK], env=environment, capture_output=True, text=True, check=True)
    assert expected in answer.stdout.split()


def test_ctrl_c_during_imports_is_quiet() -> None:
    code = (
        "import os, signal, sys\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == sys.argv[1]: os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupt())\n"
        "from recorder.cli import main\n"
        "sys.exit(main(['settings']))\n"
    )
    for module in ("typer", "recorder.settings", "recorder.cli.settings"):
        ended = subprocess.run([sys.executable, "-c", code, module], capture_output=True, text=True, check=False)
        assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", ""), module
