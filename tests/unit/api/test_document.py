"""YAML as kubectl means it."""

import pytest

from submodel_operator.api.document import read_document


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        ("y", True),
        ("off", False),
        ("yes please", "yes please"),
        ("~", None),
        ("", None),
        ("12:30:00", "12:30:00"),
        ("2024-01-01", "2024-01-01"),
        ("1.5.3", "1.5.3"),
        ("0x1F", 31),
        ("017", 15),
        ("1_000", 1000),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("'5'", "5"),
    ],
)
def test_a_plain_word_means_what_it_means_to_kubectl(word: str, meaning: object) -> None:
    assert read_document(f"a: {word}", "file") == {"a": meaning}


def test_a_merged_key_may_be_overridden() -> None:
    text = "base: &base {a: 1, b: 2}\nother: {<<: *base, b: 3}"
    assert read_document(text, "file")["other"] == {"a": 1, "b": 3}
