"""Writes docs/reference/compatibility.md. Called by `make manifests`."""

from tests.requirements import catalogue, page

if __name__ == "__main__":
    page.PAGE.write_text(page.text(catalogue.read()), encoding="utf-8")
