"""`make mutants`: plants each bug of the catalogue in a copy of the sources and runs the tests that must find it.

Prints which test found it first. Fails when a bug is found by none, or cannot be planted any more.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.catalogue import CORE, MUTANTS, ON_POSTGRES, ON_SQLITE, RACING, Mutant, plant

ROOT = Path(__file__).parents[2]
GATEWAY = Path("runtime/submodel_gateway")
COPIED = ("pyproject.toml", "runtime", "tests/conftest.py")
TESTED = ("tests/support", "tests/conformance", "tests/properties", "tests/races", "tests/unit/gateway")
TOGETHER = 2
TIMEOUT_SECONDS = 240

_UNITS = tuple(f"tests/unit/gateway/test_{name}.py" for name in ("transition", "breaker", "outbox", "tally", "ids"))
_STORE_SUITE = tuple(
    str(file.relative_to(ROOT)) for file in sorted((ROOT / "tests/conformance").glob("test_store_*.py"))
)
_RACE = "tests/races/test_pairs.py::test_a_race_of_two_ends_as_one_of_its_orders"
_MACHINE = "tests/properties/test_jobs_store.py"

SUITES = {
    CORE: (
        *_UNITS,
        *_STORE_SUITE,
        "tests/properties/test_jobs_transition.py",
        _MACHINE,
        "-k",
        "not sqlite and not postgres",
    ),
    ON_SQLITE: (_MACHINE, *_STORE_SUITE, "-k", "sqlite"),
    ON_POSTGRES: (_MACHINE, *_STORE_SUITE, "-k", "postgres"),
    RACING: (
        f"{_RACE}[postgres-finish and cancel]",
        f"{_RACE}[postgres-take and take]",
        "tests/races/test_breaker_locks.py",
    ),
}
"""Arguments of pytest: the quick ones first."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the tests said of a copy. `found_by` is None when all of them passed."""

    name: str
    found_by: str | None
    seconds: float
    broken: str = ""
    """Why the tests could not judge it."""


def main() -> int:
    arguments = ArgumentParser(prog="make mutants", description=__doc__)
    arguments.add_argument("--only", default="", help="mutants whose name holds this text")
    arguments.add_argument("--properties", action="store_true", help="see what the property tests find by themselves")
    asked = arguments.parse_args()
    mutants = [mutant for mutant in MUTANTS if asked.only in mutant.name]
    started = time.monotonic()

    def by_tests(mutant: Mutant) -> Verdict:
        return judge(mutant, properties=asked.properties)

    with ThreadPoolExecutor(TOGETHER) as pool:
        parts = sorted({mutant.part for mutant in mutants})
        sound = dict(
            zip(parts, pool.map(by_tests, [Mutant(f"(no bug: {part})", part, ()) for part in parts]), strict=True)
        )
        # Tests that fail without a bug would find all of them.
        unsound = [part for part, verdict in sound.items() if verdict.found_by or verdict.broken]
        for part in unsound:
            _say(sound[part])
        found = 0
        for verdict in pool.map(by_tests, [mutant for mutant in mutants if mutant.part not in unsound]):
            _say(verdict)
            found += verdict.found_by is not None
    sys.stdout.write(f"\n{found} of {len(mutants)} found in {time.monotonic() - started:.0f} s\n")
    return 0 if found == len(mutants) > 0 else 1


def judge(mutant: Mutant, *, properties: bool) -> Verdict:
    """Plant a bug in a fresh copy of the sources and run its tests there."""
    started = time.monotonic()
    with _copy() as copy:
        try:
            for file, text in plant(mutant, copy / GATEWAY).items():
                file.write_text(text)
        except ValueError as error:
            return Verdict(mutant.name, None, 0.0, str(error))
        suite = [each for each in SUITES[mutant.part] if not properties or _is_random(each)]
        code, output = _run_tests(copy, suite)
    seconds = time.monotonic() - started
    if code == 0:
        return Verdict(mutant.name, None, seconds)
    failed = [line.split()[1] for line in output.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    if code == 1 and failed:
        return Verdict(mutant.name, failed[0].removeprefix("tests/"), seconds)
    return Verdict(mutant.name, None, seconds, f"pytest ended with {code}: {output[-2_000:]}")


def _is_random(argument: str) -> bool:
    return not argument.startswith("tests/") or "/properties/" in argument or "/races/" in argument


@contextmanager
def _copy() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in (*COPIED, *TESTED):
            source, target = ROOT / name, copy / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, target)
        yield copy


def _run_tests(copy: Path, suite: Sequence[str]) -> tuple[int, str]:
    """Exit code and output. The copy comes before the installed packages, which are the working tree."""
    environment = {**os.environ, "PYTHONPATH": str(copy / "runtime"), "PYTHONDONTWRITEBYTECODE": "1"}  # noqa: TID251 # a program
    options = ("-x", "-q", "--tb=no", "-n0", "-p", "no:cacheprovider", "--hypothesis-profile=mutants")
    process = subprocess.Popen(
        [sys.executable, "-c", _PYTEST, str(copy), *suite, *options],
        cwd=copy,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        output, _ = process.communicate(timeout=TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return 1, "FAILED a-test-that-does-not-end"
    return process.returncode, output


_PYTEST = """
import sys
import pytest
import submodel_gateway
assert submodel_gateway.__file__.startswith(sys.argv[1]), submodel_gateway.__file__
raise SystemExit(pytest.main(sys.argv[2:]))
"""


def _say(verdict: Verdict) -> None:
    found = verdict.found_by or verdict.broken or "NOT FOUND"
    sys.stdout.write(f"{verdict.seconds:5.1f} s  {verdict.name:<60}  {found}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
