"""Starts the process over when a source that it has imported changes.

The process replaces itself, so that nothing of the old program stays and what a handler holds in memory is not there
twice. The listening socket is passed on: a request that comes meanwhile waits instead of failing. A source that cannot
be compiled changes nothing; one that fails when it is run is waited for (`again`).
"""

import os
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from submodel.serverless.modules.rp_logger import RunPodLogger

LOOK_SECONDS = 0.4
SOCKET = "SUBMODEL_LOCAL_SOCKET"
"""What a process passes on to the one that replaces it: their id, which stays, and the number of the descriptor."""

LAUNCHER = "submodel.serverless.local.again"
_FOREIGN = frozenset({"site-packages", "dist-packages"})
_FLAGS_WITH_VALUE = frozenset({"-W", "-X"})

State = Mapping[Path, tuple[int, int]]


class Reload:
    """Watches the sources of this process.

    Args:
        command: what starts it again; see `command_of`.
        listening: what the process before this one has passed on.
    """

    def __init__(self, command: list[str], listening: socket.socket | None) -> None:
        self._command = command
        self.listening = listening

    def watch(self, listening: socket.socket, leave: Callable[[], None]) -> None:
        """Begin to watch. `leave` returns when the process may be replaced."""
        known = state_of(sources(_modules()))
        threading.Thread(
            target=self._watch, args=(listening, leave, known), name="submodel-reload", daemon=True
        ).start()

    def _watch(self, listening: socket.socket, leave: Callable[[], None], known: State) -> None:
        while True:
            changed, known = wait_for_change(lambda: sources(_modules()), known)
            broken = [problem for path in changed if (problem := _problem(path))]
            if broken:
                RunPodLogger().error(f"Not started over: {broken[0]}")
                continue
            RunPodLogger().info(f"{changed[0].name} has changed: starting over.")
            leave()
            start_over(self._command, listening)


def inherited(environ: Mapping[str, str]) -> socket.socket | None:
    """The socket that this process has passed on to itself; None in its children, which have the variable only."""
    process, _, number = environ.get(SOCKET, "").partition(":")
    if process != str(os.getpid()):
        return None
    listening = socket.socket(fileno=int(number))
    listening.set_inheritable(False)
    return listening


def start_over(command: list[str], listening: socket.socket | None) -> None:
    """Replace this process by what `command` starts."""
    environ = dict(os.environ)
    if listening is not None:
        listening.set_inheritable(True)
        environ[SOCKET] = f"{os.getpid()}:{listening.fileno()}"
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, command, environ)


def command_of(orig_argv: Sequence[str]) -> list[str] | None:
    """The command that runs the same file or module through the launcher, with the same arguments.

    Args:
        orig_argv: `sys.orig_argv`.

    Returns None when Python was started with neither.
    """
    items = list(orig_argv[1:])
    place = 0
    while place < len(items) and items[place].startswith("-") and items[place] not in ("-m", "-c", "-"):
        place += 2 if items[place] in _FLAGS_WITH_VALUE else 1
    flags, target = items[:place], items[place:]
    if not target or target[0] in ("-c", "-"):
        return None
    named = target if target[0] == "-m" else ["-f", *target]
    if named[1] == LAUNCHER:
        return [sys.executable, *items]
    return [sys.executable, *flags, "-m", LAUNCHER, *named]


def wait_for_change(files: Callable[[], Iterable[Path]], known: State) -> tuple[list[Path], State]:
    """Wait until some of the files are not as they are `known`: which of them, and all as they are now."""
    pause = threading.Event()
    while True:
        pause.wait(LOOK_SECONDS)
        now = state_of(files())
        changed = [path for path, seen in now.items() if known.get(path, seen) != seen]
        if changed:
            return changed, now
        known = {**known, **now}


def sources(modules: Mapping[str, str]) -> set[Path]:
    """The files of a user's own modules, by name: not those of the runtime, of Python and of installed packages."""
    return {
        path
        for name, file in modules.items()
        if name.partition(".")[0] != "submodel" and (path := Path(file)).suffix == ".py" and _is_own(path)
    }


def _is_own(path: Path) -> bool:
    return not (_FOREIGN & set(path.parts) or path.is_relative_to(Path(os.__file__).parent))


def _modules() -> dict[str, str]:
    found = {name: getattr(module, "__file__", None) for name, module in list(sys.modules.items())}
    return {name: os.path.abspath(file) for name, file in found.items() if isinstance(file, str)}


def state_of(files: Iterable[Path]) -> State:
    """When each of the files was written, and its size."""
    found = {}
    for path in files:
        try:
            seen = path.stat()
        except OSError:
            continue  # an editor is replacing it
        found[path] = seen.st_mtime_ns, seen.st_size
    return found


def _problem(path: Path) -> str | None:
    try:
        compile(path.read_bytes(), str(path), "exec")
    except (OSError, ValueError, SyntaxError) as error:
        return f"{path.name}: {error}"
    return None
