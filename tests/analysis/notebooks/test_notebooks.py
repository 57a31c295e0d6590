"""Every notebook runs from its first to its last cell in a fresh kernel and shows its figures."""

import ast
import os
import secrets
import sys
import time
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import pytest
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from support.analysis import real_tape
from support.analysis.market_data import ROOT, data_folder

from recorder.store.database import with_database
from recorder.store.migrate import drop_database, migrate

NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.py"))
FIGURES = {
    "01_first_look": 4,
    "02_bars_and_indicators": 4,
    "03_microstructure": 5,
    "04_features": 4,
    "05_prediction_markets": 4,
    "06_direction_of_crypto": 3,
    "07_monitoring": 3,
    "08_from_tape_to_model": 1,
}
LOGIC = (
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.Lambda,
    ast.ClassDef,
    ast.For,
    ast.While,
    ast.If,
    ast.IfExp,
    ast.Try,
    ast.With,
    ast.ListComp,
    ast.SetComp,
    ast.DictComp,
    ast.GeneratorExp,
)
WARNINGS_ARE_ERRORS = "import warnings; warnings.filterwarnings('error', module=r'analysis|__main__')"

NEEDS_BOOKS = {"03_microstructure"}

each = pytest.mark.parametrize("source", NOTEBOOKS, ids=lambda path: path.stem)


class OwnKernel(KernelManager):
    """The kernel of this Python, independent of kernels installed for the user."""

    @property
    def kernel_spec(self) -> Any:
        """Return the specification of that kernel."""
        from ipykernel.kernelspec import RESOURCES, get_kernel_dict
        from jupyter_client.kernelspec import KernelSpec

        return KernelSpec(resource_dir=RESOURCES, **get_kernel_dict())


def run(source: Path, folder: Path, environment: dict[str, str], seconds: int = 100) -> Any:
    """Run a notebook and return it with its outputs.

    Args:
        source: The .py of the pair.
        folder: Empty folder for the state of the appliance, so that no database of this machine is read.
        environment: Further variables of the kernel.
        seconds: Time limit of one cell.

    Raises:
        CellExecutionError: A cell raised.
    """
    book = jupytext.read(source)
    book.cells.insert(0, nbformat.v4.new_code_cell(WARNINGS_ARE_ERRORS))
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("TAPEDECK_", "DATABASE_URL"))}
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])}
    data = {"TAPEDECK_DATA": str(data_folder("market_history").parent), "TAPEDECK_HOME": str(folder / "home")}
    client = NotebookClient(
        book,
        timeout=seconds,
        kernel_manager_class=OwnKernel,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env={**kept, **paths, **data, "TAPEDECK_QUICK": "1", "JUPYTER_PLATFORM_DIRS": "1", **environment})
    return book


def outputs(book: Any) -> list[Any]:
    """Return all outputs of the code cells."""
    return [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]


def images(book: Any) -> int:
    """Return the number of figures."""
    return sum("image/png" in output.get("data", {}) for output in outputs(book))


@pytest.fixture(scope="session")
def binance(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an archive of real trades, quotes and books."""
    url = with_database(postgres, f"tapedeck_test_{secrets.token_hex(6)}")
    migrate(url)
    root = tmp_path_factory.mktemp("binance")
    real_tape.archive(url, root)
    drop_database(url)
    return root


@each
def test_a_notebook_runs_to_its_end_and_shows_its_figures(
    source: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    needed = {"TAPEDECK_TAPE": str(request.getfixturevalue("binance"))} if source.stem in NEEDS_BOOKS else {}
    began = time.monotonic()
    book = run(source, tmp_path, needed)
    assert images(book) == FIGURES[source.stem]
    errors = "".join(
        output.text for output in outputs(book) if output.output_type == "stream" and output.name == "stderr"
    )
    assert not errors, errors
    print(f"{source.stem}: {time.monotonic() - began:.1f} s", file=sys.stderr)


def test_the_path_from_tape_to_model_runs_on_an_archive_with_gaps(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    source = ROOT / "notebooks" / "08_from_tape_to_model.py"
    book = run(source, tmp_path / "run", {"TAPEDECK_TAPE": str(archive)})
    assert images(book) == FIGURES[source.stem]
    said = "".join(output.text for output in outputs(book) if output.output_type == "stream")
    assert "skill shown against the base rate" in said
    assert "# Walk-forward of own: regression" in said
    assert (tmp_path / "run" / "report" / "report.html").is_file()


@each
def test_both_files_of_a_pair_say_the_same(source: Path) -> None:
    pair = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    text = jupytext.read(source)
    assert [(cell.cell_type, cell.source) for cell in pair.cells] == [(c.cell_type, c.source) for c in text.cells]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in pair.cells)


@each
def test_a_notebook_holds_no_logic(source: Path) -> None:
    for cell in jupytext.read(source).cells:
        if cell.cell_type == "code":
            found = [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, LOGIC)]
            assert not found, ast.unparse(found[0])


def test_without_tape_and_sample_data_a_notebook_stops_with_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CellExecutionError) as stopped:
        run(NOTEBOOKS[0], tmp_path, {"TAPEDECK_DATA": str(tmp_path)})
    assert stopped.value.ename == "NothingToRead"
    assert "make run" in stopped.value.evalue
    assert "Traceback" not in stopped.value.traceback
