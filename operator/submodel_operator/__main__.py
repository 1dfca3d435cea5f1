"""The operator process: `python -m submodel_operator`. Reads the environment, once."""

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Mapping
from typing import Final

from submodel_operator import settings as operator_settings
from submodel_operator.clock import SystemClock
from submodel_operator.errors import OperatorError, UsageError
from submodel_operator.handlers import Operator
from submodel_operator.settings import OperatorSettings

DESCRIPTION: Final = """\
The operator of SubModel on Kubernetes: it watches SubModelEndpoint resources, runs a pool of workers for each, and
scales the pools by what the gateway reports. Settings are environment variables that begin with SUBMODEL_OPERATOR_;
the cluster is reached through KUBECONFIG or the service account of the pod."""

_log = logging.getLogger("submodel_operator")


class JsonLines(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        line = {"time": self.formatTime(record), "level": record.levelname, "logger": record.name}
        line["message"] = record.getMessage()
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def main(arguments: list[str], env: Mapping[str, str]) -> int:
    """Run until a signal. Returns the exit code: 0 stopped, 1 a part failed, 2 the settings cannot work."""
    argparse.ArgumentParser(prog="python -m submodel_operator", description=DESCRIPTION).parse_args(arguments)
    try:
        settings = operator_settings.load(env)
        configure_logging(settings)
        asyncio.run(_run(settings, env))
    except UsageError as error:
        sys.stderr.write(f"submodel-operator: {error}\n")
        return 2
    except OperatorError as error:
        _log.critical("the operator ends: %s", error)
        return 1
    except (asyncio.CancelledError, KeyboardInterrupt):  # a signal before the watches were started
        return 0
    return 0


def configure_logging(settings: OperatorSettings) -> None:
    """One line per event on standard error. Of Kopf only warnings matter: it reports each event it hands on."""
    handler = logging.StreamHandler()
    text = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    handler.setFormatter(JsonLines() if settings.log_format == "json" else text)
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    logging.getLogger("kopf").setLevel(logging.WARNING)


async def _run(settings: OperatorSettings, env: Mapping[str, str]) -> None:
    task = asyncio.current_task()
    if task:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await Operator(settings, env, SystemClock(), asyncio.Event()).run()
    _log.info("stopped")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
