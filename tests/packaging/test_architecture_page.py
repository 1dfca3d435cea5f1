"""The architecture page shows the layers that the import contracts enforce, and the design notes that there are."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_layers_on_the_page_are_those_that_are_enforced() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    enforced = {
        contract["containers"][0]: contract["layers"]
        for contract in config["tool"]["importlinter"]["contracts"]
        if contract["type"] == "layers" and "containers" in contract
    }
    assert shown_layers() == enforced


def shown_layers() -> dict[str, list[str]]:
    """Package and its layers, from the page's fenced block."""
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    block = re.search(r"```layers\n(.*?)```", page, re.DOTALL)
    assert block
    paragraphs = [part.splitlines() for part in block[1].strip().split("\n\n")]
    return {lines[0]: [line.strip() for line in lines[1:]] for lines in paragraphs}


def test_every_source_named_on_the_page_exists() -> None:
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:operator|runtime)/[\w/.]+)`", page)
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_design_note_is_on_the_page_once_and_has_a_number_of_its_own() -> None:
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    notes = sorted(path.name for path in (ROOT / "docs/design").iterdir())
    assert sorted(re.findall(r"\(design/([^)]+)\)", page)) == notes
    assert len({name[:4] for name in notes}) == len(notes)
    for name in notes:
        assert (ROOT / "docs/design" / name).read_text(encoding="utf-8").startswith(f"# {name[:4]} ")


def test_every_folder_of_tests_is_told_to_contributors() -> None:
    table = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == set(re.findall(r"`tests/(\w+)`", table.partition("## Tests")[2].partition("\n## ")[0]))
