"""The Python of the documents works as written, on the tape of a running demo."""

import pytest
from support.documents import blocks, documents, running_demo


@pytest.mark.timeout(600)
def test_every_python_snippet_of_the_documents_works_as_written() -> None:
    snippets = [block for document in documents() for block in blocks(document) if block.language == "python"]
    assert snippets
    # Recorders report once a minute how far they are, and the bars need a complete minute.
    two_minutes = """(SELECT max(last_frame_at) FROM session WHERE venue = 'kraken') >
        (SELECT first_seen + interval '2 minutes' FROM instrument WHERE venue = 'kraken' AND symbol = 'BTC/USD')"""
    with running_demo() as demo:
        demo.wait_until(two_minutes)
        for block in snippets:
            demo.run(block)
