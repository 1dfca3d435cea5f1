"""The handler runtime on every Python that handlers may bring. `make test-pythons`, or with versions as arguments.

Each version gets an environment with the base install only, outside the tree: the runtime's unit tests run in it, and
the tests of whole workers start their workers with it (the gateway and the tests themselves stay on this Python). An
interpreter that is not installed is left out with a word, and is a failure where `CI=true`: there all of them are.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

VERSIONS = ("3.10", "3.11", "3.12", "3.13")
ROOT = Path(__file__).parents[1]
TOOLS = ("pytest>=9", "pytest-asyncio>=1", "pytest-timeout>=2.3", "hypothesis>=6.120")
UNIT = ("tests/unit/runtime", "tests/unit/local")
WORKERS = (
    "tests/integration/test_handler_contract.py",
    "tests/integration/test_local_server.py",
    *sorted(map(str, ROOT.glob("tests/integration/test_runtime_*"))),
)
QUICK = ("-q", "-m", "not slow")


def main(versions: list[str]) -> int:
    present = ".".join(map(str, sys.version_info[:2]))
    failed = []
    for version in versions or [each for each in VERSIONS if each != present]:
        python = _environment(version)
        if python is None:
            sys.stdout.write(f"Python {version} is not installed\n")
            if os.environ.get("CI"):  # noqa: TID251  # what a machine must have is said by its environment
                failed.append(version)
        elif not _passes(version, python):
            failed.append(version)
    if failed:
        sys.stdout.write(f"failed: {', '.join(failed)}\n")
    return 1 if failed else 0


def _passes(version: str, python: Path) -> bool:
    environment = {**os.environ, "SUBMODEL_TEST_PYTHON": str(python)}  # noqa: TID251  # handed on as it is
    for where, tests in ((python, UNIT), (Path(sys.executable), ("-n", "2", *WORKERS))):
        sys.stdout.write(f"Python {version}: {' '.join(UNIT) if where == python else 'workers'}\n")
        sys.stdout.flush()
        command = [str(where), "-m", "pytest", *QUICK, "-p", "no:cacheprovider", *tests]
        if subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode:
            return False
    return True


def _environment(version: str) -> Path | None:
    """The interpreter of an environment with the base install; None when there is no such Python."""
    found = next((each for each in _candidates(version) if _is(each, version)), None)
    if found is None:
        return None
    folder = _cache() / "submodel-pythons" / version
    python = folder / "bin" / "python"
    if not python.exists():
        _uv("venv", "--python", str(found), str(folder))
    _uv("pip", "install", "--python", str(python), "--editable", str(ROOT / "runtime"), *TOOLS)
    return python


def _candidates(version: str) -> Iterator[Path]:
    """What may be such an interpreter: on `PATH`, or among the versions that pyenv keeps beside it."""
    if named := shutil.which(f"python{version}"):
        yield Path(named)
    home = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")  # noqa: TID251  # where pyenv is
    yield from sorted(home.glob(f"versions/{version}.*/bin/python"))


def _is(python: Path, version: str) -> bool:
    """Whether it runs and is what its name says; a shim of pyenv may be neither."""
    ran = subprocess.run(
        [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], capture_output=True, text=True, check=False
    )
    return ran.stdout.strip() == version


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")  # noqa: TID251  # where caches are


def _uv(*arguments: str) -> None:
    program = shutil.which("uv") or _cache() / "submodel-dev" / "uv" / "bin" / "uv"
    subprocess.run([program, *arguments, "--quiet"], check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
