"""The architecture page shows the layers that the import contracts enforce, not those of last month."""

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
