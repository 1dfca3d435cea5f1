"""What installing and importing must and must not do."""

import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


def python(code: str, cwd: Path = ROOT) -> str:
    """Output of a fresh interpreter started in `cwd`."""
    ran = subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=True)
    return ran.stdout.strip()


@pytest.mark.parametrize("folder", ["operator", "runtime"])
def test_member_folders_are_no_packages(folder: str) -> None:
    assert not (ROOT / folder / "__init__.py").exists()


def test_the_standard_librarys_operator_is_not_shadowed_from_the_root() -> None:
    assert python("import operator; print(operator.itemgetter(0)([7]))") == "7"


@pytest.mark.parametrize("folder", ["operator", "runtime"])
def test_each_distribution_carries_the_licence(folder: str) -> None:
    assert (ROOT / folder / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


HEAVY = ("kopf", "kubernetes", "yaml", "pydantic", "aiohttp", "httptools", "sqlite3", "psycopg", "opentelemetry")


def test_a_handler_that_imports_submodel_gets_none_of_the_servers_libraries() -> None:
    loaded = python(f"import sys, submodel.serverless; print(sorted(set({HEAVY}) & set(sys.modules)))")
    assert loaded == "[]"


LIBRARIES_MAX = 3
SMALL_BYTES = 2_000_000


def test_what_a_handler_installs_is_a_few_small_libraries_and_all_that_they_need() -> None:
    closure = installed_with("submodel-runtime") - {"submodel-runtime"}
    assert len(closure) <= LIBRARIES_MAX, closure
    for name in closure:
        files = [file.locate() for file in distribution(name).files or [] if file.suffix != ".pyc"]
        size = sum(Path(str(file)).stat().st_size for file in files)
        assert 0 < size < SMALL_BYTES, name


def installed_with(name: str) -> set[str]:
    """The distribution, and what it and those need, without extras."""
    found, waiting = set(), {name}
    while waiting:
        name = waiting.pop()
        found.add(name)
        needed = map(Requirement, distribution(name).requires or [])
        waiting |= {each.name for each in needed if each.marker is None or each.marker.evaluate({"extra": ""})} - found
    return found


@pytest.mark.parametrize("module", ["kopf", "kubernetes", "aiohttp", "pydantic", "yaml"])
def test_the_submodel_commands_help_loads_no_heavy_library(module: str) -> None:
    assert python(f"import sys, submodel_operator.cli; print({module!r} in sys.modules)") == "False"


@pytest.mark.parametrize("module", ["kopf", "kubernetes"])
def test_local_mode_loads_neither_kopf_nor_a_kubernetes_client(module: str) -> None:
    assert python(f"import sys, submodel_operator.cli.up; print({module!r} in sys.modules)") == "False"


@pytest.mark.parametrize("package", ["submodel", "submodel_gateway", "submodel_operator"])
def test_every_package_says_that_it_is_typed(package: str) -> None:
    assert list(ROOT.glob(f"*/{package}/py.typed"))


def test_the_example_manifest_holds_the_example_handler() -> None:
    import yaml

    folder = ROOT / "docs/examples/async-generator"
    manifest = yaml.safe_load((folder / "endpoint.yaml").read_text(encoding="utf-8"))
    assert manifest["spec"]["worker"]["handler"]["inline"] == (folder / "handler.py").read_text(encoding="utf-8")
