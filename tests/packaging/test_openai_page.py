"""The page about OpenAI's API shows the example as it is."""

from pathlib import Path

import pytest

from submodel_operator.api.manifest import read_manifest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs/examples/openai"
PAGE = (ROOT / "docs/how-to/openai.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "language"), [("endpoint.yaml", "yaml"), ("ask.py", "python"), ("ask_asyncio.py", "python")]
)
def test_the_page_shows_the_files_as_they_are(file: str, language: str) -> None:
    assert f"```{language}\n{(EXAMPLE / file).read_text(encoding='utf-8')}```" in PAGE


def test_the_manifest_holds_the_handler_and_names_its_model() -> None:
    spec = read_manifest((EXAMPLE / "endpoint.yaml").read_text(encoding="utf-8"), "endpoint.yaml").spec
    assert spec.worker.handler
    assert spec.worker.handler.inline == (EXAMPLE / "handler.py").read_text(encoding="utf-8")
    assert spec.openai.models == ["parrot"]
