"""What the documentation says is what the sources say: links, names of settings and options, manifests, reasons."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

import submodel_gateway.settings as gateway
import submodel_operator.settings as operator
from submodel.client import settings as client
from submodel.contract import env, legacy_env
from submodel.serverless import settings as worker
from submodel_operator.api import crd
from submodel_operator.api.constants import KIND
from submodel_operator.api.manifest import read_manifest
from submodel_operator.cli import COMMANDS, cli
from submodel_operator.scaling import Term

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs/examples/async-generator"
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [path for path in sorted(ROOT.rglob("*.md")) if "/." not in f"/{path.relative_to(ROOT)}"]


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def without_code(text: str) -> str:
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)


def anchors(text: str) -> set[str]:
    """The fragments that the headings of a page can be reached by."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def section(text: str, heading: str) -> str:
    """What stands under a heading of the second level, up to the next of that level."""
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    assert found, heading
    return found[1]


def first_column(text: str) -> list[str]:
    """The names in backquotes in the first column of all tables."""
    cells = re.findall(r"^\| (`[^|]*) \|", text, re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


class Asked(dict[str, str]):
    """An environment that remembers which variables it was asked for."""

    def __init__(self, **required: str) -> None:
        super().__init__(required)
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override] # only texts here
        self.names.add(name)
        return super().get(name, default)


def read_by_the_gateway() -> set[str]:
    asked = Asked(
        SUBMODEL_GATEWAY_INTERNAL_TOKEN="text", SUBMODEL_GATEWAY_KEYS="folder", SUBMODEL_GATEWAY_KEY_PEPPER="text"
    )
    gateway.Settings.read(asked)
    return asked.names


def read_by_the_operator() -> set[str]:
    required = ("GATEWAY_URL", "GATEWAY_TOKEN", "WORKER_GATEWAY_URL", "WORKER_TOKEN_KEY", "RUNTIME_IMAGE")
    asked = Asked(**{operator.PREFIX + name: "text" for name in required})
    operator.load(asked)
    return asked.names


def read_by_a_worker() -> set[str]:
    asked = Asked(
        **{env.GATEWAY_URL: "http://gateway", env.ENDPOINT_ID: "a.b", env.WORKER_ID: "w", env.WORKER_TOKEN: "t"}
    )
    worker.from_environment(asked)
    return asked.names


def read_by_a_client() -> set[str]:
    asked = Asked()
    client.from_environment(asked)
    return asked.names


READERS = {
    "Gateway": read_by_the_gateway,
    "Operator": read_by_the_operator,
    "Worker": read_by_a_worker,
    "Client": read_by_a_client,
}


@pytest.mark.parametrize("path", PAGES, ids=shown)
def test_every_relative_link_leads_to_a_file_and_a_heading(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(text)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, fragment = target.partition("#")
        found = (path.parent / file) if file else path
        assert found.exists(), target
        assert not fragment or fragment in anchors(found.read_text(encoding="utf-8")), target


def manifests() -> Iterator[tuple[str, str]]:
    """Each endpoint that a page shows, with the page's name."""
    for path in PAGES:
        for block in blocks(path.read_text(encoding="utf-8"), "yaml"):
            document = yaml.safe_load(block)
            if isinstance(document, dict) and document.get("kind") == KIND:
                yield shown(path), block


def test_every_endpoint_on_a_page_can_be_applied() -> None:
    found = list(manifests())
    assert found
    for source, block in found:
        read_manifest(block, source)


def test_pages_name_the_images_of_the_present_version() -> None:
    version = yaml.safe_load((ROOT / "charts/submodel/Chart.yaml").read_text(encoding="utf-8"))["appVersion"]
    named = {tag for path in PAGES for tag in re.findall(r"submodel-(?:\$?\w+):([0-9.]+)", path.read_text())}
    assert named == {version}


def test_the_table_in_the_readme_has_the_columns_of_kubectl() -> None:
    columns = crd.custom_resource_definition()["spec"]["versions"][0]["additionalPrinterColumns"]
    shown = next(line for line in README.splitlines() if line.startswith("NAME "))
    assert shown.split() == ["NAME", *(each["name"].upper() for each in columns if not each.get("priority"))]


def test_the_handler_and_the_manifest_in_the_readme_are_those_of_the_example() -> None:
    assert (EXAMPLE / "handler.py").read_text(encoding="utf-8") in blocks(README, "python")
    assert (EXAMPLE / "endpoint.yaml").read_text(encoding="utf-8") in blocks(README, "yaml")


def test_the_manifest_of_the_example_holds_its_handler() -> None:
    text = (EXAMPLE / "endpoint.yaml").read_text(encoding="utf-8")
    handler = read_manifest(text, "endpoint.yaml").spec.worker.handler
    assert handler
    assert handler.inline == (EXAMPLE / "handler.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("process", READERS)
def test_the_settings_on_the_page_are_those_that_the_process_reads(process: str) -> None:
    listed = first_column(section(page("reference/settings.md"), process))
    assert sorted(listed) == sorted(READERS[process]())


def test_the_names_that_workers_are_started_with_are_all_on_the_page() -> None:
    shared = {value for name, value in vars(env).items() if name.isupper() and isinstance(value, str)}
    assert set(first_column(section(page("reference/settings.md"), "Worker"))) == shared


def test_the_names_that_workers_of_another_sdk_are_started_with_are_all_on_the_page() -> None:
    listed = first_column(section(page("reference/settings.md"), "Worker of another SDK"))
    named = {prefix + name.removeprefix("…") for prefix in legacy_env.PREFIXES for name in listed}
    assert named == legacy_env.RESERVED
    for name in legacy_env.DEFAULTS:
        assert name in section(page("reference/settings.md"), "Worker of another SDK")


def options(command: click.Command) -> set[str]:
    """The options that a command understands, its help included."""
    context = click.Context(command, help_option_names=["-h", "--help"])
    parameters = (each for each in command.get_params(context) if isinstance(each, click.Option))
    return {name for parameter in parameters for name in parameter.opts}


def commands() -> dict[str, click.Command]:
    """Every command by what a person types."""
    context = click.Context(cli)
    found = {name: cli.get_command(context, name) for name in COMMANDS}
    return {"submodel": cli} | {f"submodel {name}": command for name, command in found.items() if command}


@pytest.mark.parametrize("typed", commands())
def test_the_options_on_the_page_are_those_of_the_command(typed: str) -> None:
    names = first_column(section(page("reference/command-line.md"), typed))
    assert {name for name in names if name.startswith("-")} == options(commands()[typed])


def test_every_command_has_a_place_on_the_page() -> None:
    listed = [name for name in first_column(page("reference/command-line.md")) if name.startswith("submodel ")]
    assert listed == [typed for typed in commands() if typed != "submodel"]


def test_the_reasons_of_a_decision_on_the_page_are_those_of_the_scaler() -> None:
    listed = first_column(section(page("concepts/scaling.md"), "Reading the last decision"))
    assert sorted(listed) == sorted(Term)


def test_the_checklist_of_the_operator_names_tests_that_exist() -> None:
    named = set(re.findall(r"`(test_[a-z0-9_]+)`", page("design/0012-kopf-checklist.md")))
    sources = (path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    there = {name for text in sources for name in re.findall(r"def (test_[a-z0-9_]+)", text)}
    assert len(named) > 60
    assert named <= there
