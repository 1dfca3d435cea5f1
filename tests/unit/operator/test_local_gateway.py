"""What a person at the terminal sees of the gateway's log."""

import logging

import pytest

from submodel_gateway.logs import TextLines
from submodel_operator.local.gateway import in_short


def line(level: int) -> str:
    return TextLines().format(logging.LogRecord("submodel_gateway.store", level, "", 0, "the disk is full", (), None))


@pytest.mark.parametrize(("level", "shown"), [(logging.WARNING, "WARNING"), (logging.ERROR, "ERROR")])
def test_a_line_of_the_gateway_is_shown_without_its_time_and_logger(level: int, shown: str) -> None:
    assert in_short(line(level)) == f"{shown}: the disk is full"


def test_what_is_no_line_of_its_log_is_shown_as_it_is() -> None:
    assert in_short("  File x, in ERROR handler of y") == "  File x, in ERROR handler of y"
