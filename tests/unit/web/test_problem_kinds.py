"""Every problem that the code can raise has a line on the page of problems."""

import ast

from support.database_server import ROOT

from recorder.web.answers.problems import KINDS, Problem, type_of

WEB = ROOT / "recorder" / "web"


def raised() -> list[tuple[str, int, str]]:
    """Return file, status and kind of each `Problem(...)` in the code."""
    found = []
    for path in sorted(WEB.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Problem" and node.args):
                continue
            status = node.args[0]
            kind = next((one.value for one in node.keywords if one.arg == "kind"), None)
            if isinstance(status, ast.Constant) and (kind is None or isinstance(kind, ast.Constant)):
                found.append((str(path.relative_to(WEB)), int(str(status.value)), str(kind.value) if kind else ""))
    return found


def test_every_problem_of_the_code_is_explained() -> None:
    found = raised()
    assert len(found) > 50
    for path, status, kind in found:
        problem = Problem(status, "a sentence", kind=kind)
        assert problem.kind in KINDS, f"{path} raises {problem.kind}, which /docs/problems does not explain"
        assert problem.kind != "other", f"{path} raises a status {status} without a kind"


def test_each_kind_is_raised_by_something_or_is_that_of_a_status() -> None:
    used = {Problem(status, "", kind=kind).kind for _path, status, kind in raised()}
    by_handlers = {"database-away", "method-not-allowed", "other", "bad-request"}  # `away`, and what Starlette raises
    assert set(KINDS) - used <= by_handlers


def test_a_type_leads_to_the_page_of_problems() -> None:
    assert type_of(404) == "/docs/problems#not-found"
    assert type_of(418) == "/docs/problems#other"
    assert type_of(409, "gaps") == "/docs/problems#gaps"
