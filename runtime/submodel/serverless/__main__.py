"""`python -m submodel.serverless PATH/handler.py`: the entry of the worker image.

Runs the file as `python PATH/handler.py` would, but tells the gateway before the file is run that the worker is
starting, and why when the file fails: a crash at import is otherwise visible in the pod's log only.
"""

import os
import runpy
import sys
import traceback
from pathlib import Path

from submodel import serverless
from submodel.errors import SubModelError
from submodel.serverless.local import mode
from submodel.serverless.worker import Worker

USAGE = "usage: python -m submodel.serverless PATH/handler.py [arguments]"
HELP = f"""{USAGE}

Runs a handler's file as a worker of the gateway that SUBMODEL_GATEWAY_URL names, or of the platform whose variables
are set; without either it runs one job on this machine. The arguments are the file's own; those of submodel, such as
--test_input and --rp_serve_api, are listed by PATH/handler.py --help.
"""


def main(arguments: list[str]) -> int:
    """Announce a worker and run its handler's file; returns the exit code, 2 with a sentence when it cannot start."""
    if arguments[:1] in (["-h"], ["--help"]):
        sys.stdout.write(HELP)
        return 0
    if not arguments or not Path(arguments[0]).is_file():
        wrong = f"{arguments[0]}: no such file; name the file of the handler\n" if arguments else ""
        sys.stderr.write(f"{USAGE}\n{wrong}")
        return 2
    if (mode.has_flags(arguments[1:]) or mode.is_realtime(os.environ)) and _run_without_a_worker(arguments):
        return 0
    try:
        worker = serverless._process_worker = Worker.from_environment(os.environ)
    except SubModelError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    worker.announce()
    return run_file(worker, arguments)


def _run_without_a_worker(arguments: list[str]) -> bool:
    """Run the file when its arguments ask for something else than a worker; whether they do."""
    from submodel.serverless.local import again, entry

    if entry.asks_for_a_worker(arguments[1:]):
        return False
    sys.argv[:] = arguments
    again.run("-f", arguments[0])
    return True


def run_file(worker: Worker, arguments: list[str]) -> int:
    """Run the handler's file; returns the process's exit code."""
    path = arguments[0]
    sys.argv[:] = arguments
    sys.path[0] = str(Path(path).resolve().parent)
    try:
        runpy.run_path(path, run_name="__main__")
    except SystemExit as ending:
        if not worker.served:
            worker.fail(_exited(path, ending.code))
        raise
    except BaseException as error:
        text = _traceback_from(path, error)
        sys.stderr.write(text)
        if not worker.served:
            worker.fail(text)
        return 1
    if not worker.served:
        sentence = f'{path} ended without calling submodel.serverless.start({{"handler": fn}})'
        sys.stderr.write(f"{sentence}\n")
        worker.fail(sentence)
        return 1
    return 0


def _exited(path: str, code: object) -> str:
    """Why the file that exited is no worker, ending with what its log ends with."""
    early = "before it called submodel.serverless.start()"
    if code is None or isinstance(code, int):
        sentence = f"{path} exited with code {code or 0} {early}"
        sys.stderr.write(f"{sentence}\n")
        return sentence
    return f"{path} exited {early}: {code}"  # Python writes it


def _traceback_from(path: str, error: BaseException) -> str:
    """The traceback without the frames that started the file."""
    frame = error.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_filename != path:
        frame = frame.tb_next
    return "".join(traceback.format_exception(type(error), error, frame))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
