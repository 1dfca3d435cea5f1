"""Where the generated parts stand. A part of a page is between two comments; the rest is written by hand."""

import re
from pathlib import Path

from tests.chart import dashboard, images, values
from tests.support.helm import CHART

ROOT = CHART.parents[1]
README = CHART / "README.md"
AIR_GAPPED = ROOT / "docs/how-to/install-air-gapped.md"
DASHBOARD = CHART / "files/dashboard.json"


def texts() -> dict[Path, str]:
    """Every file that holds something generated, with its text as it should be."""
    table = values.table((CHART / "values.yaml").read_text(encoding="utf-8"))
    listed = "```\n" + "".join(f"{image}\n" for image in images.images()) + "```\n"
    return {
        README: with_part(README.read_text(encoding="utf-8"), "values", table),
        AIR_GAPPED: with_part(AIR_GAPPED.read_text(encoding="utf-8"), "images", listed),
        DASHBOARD: dashboard.text(),
    }


def with_part(page: str, name: str, text: str) -> str:
    """The page with its part `name` replaced. Raises `ValueError` when the page has no such part."""
    begin, end = f"<!-- {name}: made by `make manifests` -->\n", f"<!-- end of {name} -->\n"
    found = re.subn(
        re.escape(begin) + ".*?" + re.escape(end), lambda _: f"{begin}\n{text}\n{end}", page, flags=re.DOTALL
    )
    if found[1] != 1:
        raise ValueError(f"the page needs one part between {begin.strip()} and {end.strip()}")
    return found[0]
