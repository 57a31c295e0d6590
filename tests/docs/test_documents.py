"""The documents: every command and query in them works as written, generated pages are fresh, links lead somewhere."""

import re
from pathlib import Path

import pytest
from generate import pages
from support.documents import ROOT, Block, blocks, documents, running_demo, venue_pages

from recorder.clock import SystemClock
from recorder.poller.jobs import all_jobs
from recorder.settings import Settings

LANGUAGES = {"console", "sh", "sql", "python", "ini", "toml", "text"}
FLAGS = {"follow", "long", "elsewhere"}
_LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")


def in_order(*languages: str) -> list[Block]:
    """Return the blocks of all documents in these languages, the README's first."""
    found = [block for document in documents() for block in blocks(document) if block.language in languages]
    return sorted(found, key=lambda block: (block.document != "README.md", block.document, block.line))


def test_every_block_says_how_it_is_run() -> None:
    found = [block for document in documents() for block in blocks(document)]
    assert found
    for block in found:
        assert block.language in LANGUAGES, block
        assert block.flags <= FLAGS, block


@pytest.mark.timeout(600)
def test_every_command_and_query_of_the_documents_works_as_written() -> None:
    with running_demo() as demo:
        for block in in_order("sh", "sql"):
            if "long" not in block.flags:
                demo.run(block)


def test_the_sample_of_the_readme_has_the_jobs_of_the_demo() -> None:
    jobs = all_jobs(Settings.load(Path("demo"), {}), SystemClock())
    assert re.findall(r"polls: (\d+) jobs", (ROOT / "README.md").read_text()) == [str(len(jobs))]


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.name)
def test_a_generated_page_equals_its_source(path: Path) -> None:
    assert path.read_text() == pages()[path], "run `make docs`"


@pytest.mark.parametrize("document", [*documents(), *venue_pages()], ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_of_a_document_leads_to_a_file(document: Path) -> None:
    for target in _LINK.findall(document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), f"{document.name} links to {target}"
