"""A source that does not compile is told before a job finds out, without a word of it."""

import pytest

from submodel.contract.internal import WorkerView
from submodel.contract.states import WorkerPhase
from submodel_operator import handler_syntax
from submodel_operator.handler_syntax import LENGTH_MAX, syntax_problem
from submodel_operator.status import Account, build_status
from tests.support.endpoints import manifest, observed, pool, resolved, signals, view, worker

NOW = 1_800_000_000.0
BROKEN = "import submodel\n\ndef handler(job:\n    return 'secret'\n"


@pytest.mark.parametrize("source", ["", "pass", "x = 1\nprint(f'{x!r}')\n", "print('\\d')", "import nowhere"])
def test_a_source_that_compiles_is_fine_whatever_it_would_do(source: str) -> None:
    assert syntax_problem(source) == ""


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (BROKEN, "line 3"),
        ("if x:\n\ty = 1\n        z = 2\n", "line 3: tabs and spaces are mixed"),
        ("# \udc80", "no Python"),
        ("src/secret-handler.py\n", 'names a file where its source is expected, after "inline: |"'),
        ("(" * 5000 + ")" * 5000, ""),
        ("-" * 60_000 + "1", "nested too deeply"),
    ],
)
def test_what_is_wrong_is_told_with_its_line_and_none_of_the_text(source: str, words: str) -> None:
    problem = syntax_problem(source)
    assert words in problem
    assert problem
    assert "secret" not in problem


def bomb(levels: int, indent: int = 1) -> str:
    """Each level doubles what the compiler makes of the next."""
    space = " " * indent
    if not levels:
        return f"{space}return 1\n"
    return f"{space}try:\n{space} return 1\n{space}finally:\n{bomb(levels - 1, indent + 1)}"


def test_a_source_is_never_given_to_the_compiler() -> None:
    assert syntax_problem(f"def handler(job):\n{bomb(18)}") == ""
    assert syntax_problem("return 1") == "", "only the compiler knows that"


def test_a_source_that_would_take_the_parser_long_is_left_to_the_worker() -> None:
    assert syntax_problem("(" * (LENGTH_MAX + 1)) == ""


def test_a_bounded_number_of_verdicts_is_kept_and_no_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler_syntax, "SOURCES_KEPT", 3)
    kept: dict[bytes, str] = {}
    monkeypatch.setattr(handler_syntax, "_known", kept)
    for number in range(5):
        assert syntax_problem(f"x = {number}") == ""
    assert len(kept) == 3
    assert {len(digest) for digest in kept} == {32}


def ready(*views: WorkerView, source: str = BROKEN) -> dict[str, str]:
    document = manifest({"handler": {"inline": source}})
    facts = observed(worker("a"), pools=(pool(replicas=1),), document=document)
    account = Account(observed=facts, endpoint=resolved(document), revision="r1", signals=signals(*views))
    found: dict[str, str] = build_status(account, NOW)["conditions"][0]
    return found


def test_the_endpoint_is_not_ready_and_says_what_to_do() -> None:
    found = ready()
    assert (found["status"], found["reason"]) == ("False", "HandlerInvalid")
    assert found["message"].startswith("spec.worker.handler does not compile with Python 3.")
    assert found["message"].endswith("; mend the source")
    assert ready(source="pass")["status"] == "True"


def test_a_worker_with_another_python_knows_better() -> None:
    assert ready(view("a"))["status"] == "True"
    unfit = view("a", phase=WorkerPhase.UNHEALTHY, reason="SyntaxError: '(' was never closed")
    assert ready(unfit)["reason"] == "WorkerUnfit"
