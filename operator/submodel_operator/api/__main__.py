"""Writes the generated files below a checkout: `python -m submodel_operator.api [ROOT]`. Called by `make manifests`."""

import sys
from pathlib import Path

from submodel_operator.api import conditions_reference, crd, reference


def main(root: Path) -> None:
    """Write the CRD to `crds/` and to the templates of the chart, and the reference pages, below `root`."""
    texts = {
        crd.MANIFEST_PATH: crd.manifest_text(),
        crd.TEMPLATE_PATH: crd.template_text(),
        reference.PAGE_PATH: reference.page_text(),
        conditions_reference.PAGE_PATH: conditions_reference.page_text(),
    }
    for path, text in texts.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
