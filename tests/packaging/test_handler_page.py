"""The page of the handler runtime says what the runtime does."""

import argparse
import re
from pathlib import Path

from submodel.serverless.config import Job, ServerlessConfig
from submodel.serverless.local import arguments
from submodel.serverless.local.desk import Desk
from submodel.serverless.local.requests import Requests

PAGE = Path(__file__).parents[2].joinpath("docs/reference/handler-runtime.md").read_text(encoding="utf-8")


def section(heading: str) -> str:
    found = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert found, heading
    return found[1]


def rows(heading: str) -> list[list[str]]:
    """The cells of the tables of a section, without their heads."""
    lines = re.findall(r"^\| (`.*) \|$", section(heading), re.MULTILINE)
    return [[cell.strip() for cell in line.split(" | ")] for line in lines]


def test_the_options_on_the_page_are_those_that_are_understood() -> None:
    understood = {}
    for action in arguments.parser()._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        (name,) = (option for option in action.option_strings if not option.startswith("--sm_"))
        default = action.default if action.metavar and action.dest.startswith("api_") else None
        understood[f"{name} {action.metavar}" if action.metavar else name] = default
    listed = {row[0].strip("`"): row[1].strip("`") for row in rows("Command line") if "--help" not in row[0]}
    assert set(listed) == set(understood)
    assert {name: listed[name] for name, default in understood.items() if default is not None} == {
        name: str(default) for name, default in understood.items() if default is not None
    }


def test_the_routes_on_the_page_are_those_that_are_served() -> None:
    listed = {re.split(r"[/{}`]+", row[0])[1] for row in rows("Development server")}
    requests = Requests(Desk(1, lambda job: None), None, {})
    served = {*requests._plain, *requests._of_job} - {"", "docs", "handler", "run_sync", "purge"}
    assert listed == served | {"endpoint"}


def test_the_keys_of_start_on_the_page_are_those_of_its_type() -> None:
    tables = [*rows("start"), *rows("Jobs from a function")]
    listed = [row[0].strip("`") for row in tables if row[0].startswith("`")]
    assert [key for key in listed if key not in Job.__annotations__] == list(ServerlessConfig.__annotations__)
