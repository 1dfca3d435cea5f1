"""What became of a job, in lines for people: those of the hosted platforms, where people and scripts look for them."""

import json
import re
from pathlib import Path

from submodel.serverless import encoding
from submodel.serverless.modules.rp_logger import RunPodLogger
from submodel.serverless.outcome import Outcome

RUNTIME = str(Path(__file__).parents[1])
LINE_CHARACTERS = 100
"""A value longer than this is shown on lines of its own."""

_BROKEN_STREAM = re.compile(r"handler: (.*) \ntraceback: (Traceback .*)", re.DOTALL)


def outcome(log: RunPodLogger, job_id: str, found: Outcome) -> None:
    """How a job ended, and with what."""
    if found.error is None:
        log.info(f"Job {job_id} completed successfully.")
    else:
        log.error(f"Job {job_id} failed with error: {readable(found.error)}")
    parts = [] if found.output is None else [b'"output":' + found.output]
    parts += [] if found.error is None else [b'"error":' + encoding.encode(_summary(found.error), "error")]
    log.info(f"Job result: {value(b'{' + b','.join(parts) + b'}')}")


def readable(error: str) -> str:
    """The text of a failure for people: a handler's exception as its traceback."""
    report = _report(error)
    return error if report is None else f"{report['error_message']}\n{_own_frames(report['error_traceback'])}"


def _own_frames(traceback: str) -> str:
    """A traceback without the frames of the runtime, which lead every one."""
    own = re.sub(rf'(?m)^  File "{re.escape(RUNTIME)}.*\n(?:    .*\n)*', "", traceback)
    return (own if '  File "' in own else own.removeprefix("Traceback (most recent call last):\n")).rstrip()


def _summary(error: str) -> str:
    report = _report(error)
    return error if report is None else f"{report['error_type']}: {report['error_message']}"


def _report(error: str) -> dict[str, str] | None:
    if (of_stream := _BROKEN_STREAM.fullmatch(error)) is not None:
        message, trace = of_stream.groups()
        kind = trace.rstrip().rpartition("\n")[2].partition(":")[0]
        return {"error_type": kind, "error_message": message, "error_traceback": trace}
    try:
        report = json.loads(error)
    except ValueError:
        return None
    whole = isinstance(report, dict) and isinstance(report.get("error_traceback"), str)
    return report if whole and "error_message" in report and "error_type" in report else None


def value(text: bytes) -> str:
    """JSON for people: on one line when it is short."""
    line = json.dumps(json.loads(text), ensure_ascii=False)
    return line if len(line) <= LINE_CHARACTERS else "\n" + json.dumps(json.loads(text), ensure_ascii=False, indent=2)
