"""`python -m tests.chart` writes what is generated. Called by `make manifests`."""

from tests.chart import pages

if __name__ == "__main__":
    for path, text in pages.texts().items():
        path.write_text(text, encoding="utf-8")
