"""Answers of Yahoo that hold no chart: refusals, requests to wait, pages and texts."""

import pytest
from support.captured_data import CAPTURES, require

from recorder.errors import RestInvalidResponse, RestRefused, RestUnavailable
from recorder.venues.yahoo.answers import result_of


@pytest.mark.parametrize(
    ("status", "name", "reason"),
    [
        (404, "error_404_not_found.json", "404: Not Found: No data found, symbol may be delisted"),
        (400, "error_400_bad_interval.json", "400: Bad Request: Invalid input - interval=7d is not supported"),
    ],
)
def test_a_captured_refusal_gives_the_reason_of_yahoo(status: int, name: str, reason: str) -> None:
    with pytest.raises(RestRefused, match=reason):
        result_of(status, (require(CAPTURES / "yahoo") / name).read_bytes())


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, b"Too Many Requests\r\n", RestUnavailable),
        (429, b"", RestUnavailable),
        (429, b'{"chart":{"result":[{}],"error":null}}', RestUnavailable),
        (200, b"Edge: Too Many Requests", RestUnavailable),
        (503, b"<html>Service Unavailable</html>", RestUnavailable),
        (422, b'{"chart":{"result":null,"error":{"code":"Unprocessable Entity"}}}', RestRefused),
        (404, b"<!DOCTYPE html>", RestRefused),
        (401, b"", RestRefused),
        (200, b'{"chart":{"result":null,"error":{"code":"Not Found","description":null}}}', RestRefused),
        (200, b"<html>consent</html>", RestInvalidResponse),
        (200, b"", RestInvalidResponse),
        (200, b'{"chart":{"result":[{"meta":', RestInvalidResponse),
        (200, b'{"chart":{"result":[],"error":null}}', RestInvalidResponse),
        (200, b'{"chart":{"result":[{},{}],"error":null}}', RestInvalidResponse),
        (200, b'{"finance":{}}', RestInvalidResponse),
        (200, b"[" * 5000, RestInvalidResponse),
        (302, b'{"chart":{"result":[{}],"error":null}}', RestInvalidResponse),
    ],
)
def test_an_answer_without_a_chart_says_what_to_do(status: int, body: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        result_of(status, body)


def test_what_yahoo_says_is_shown_and_not_obeyed() -> None:
    with pytest.raises(RestRefused) as refused:
        result_of(404, b'{"chart":{"result":null,"error":{"code":"\\u001b[2J","description":"x\\u202e"}}}')
    assert str(refused.value).isprintable()
