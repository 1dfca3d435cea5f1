"""Times of named pieces of a handler: `with LineTimer("load"): …`, `@FunctionTimer`, `get_debugger_output()`.

The times of the process are in one place, whoever asks for them.
"""

import functools
import inspect
import platform
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import submodel

__all__ = ["Checkpoints", "FunctionTimer", "LineTimer", "clear_debugger_output", "get_debugger_output"]

CHECKPOINTS_MAX = 1000
"""How many are kept when nobody clears them: the oldest go."""

_Checkpoint = dict[str, Any]


class Checkpoints:
    """All checkpoints of the process: every call of the class gives the same object. Any thread may use it."""

    _instance: "Checkpoints | None" = None

    def __new__(cls) -> "Checkpoints":
        if Checkpoints._instance is None:
            Checkpoints._instance = object.__new__(cls)
            Checkpoints._instance._begin()
        return Checkpoints._instance

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self.clear()

    def add(self, name: str) -> None:
        """Make a checkpoint. Raises `KeyError` when there is one of that name."""
        if name in self._by_name:
            raise KeyError(f'Checkpoint name "{name}" already exists.')
        self._append(name)

    def start(self, name: str) -> None:
        """Begin to measure. Raises `KeyError` for a name that was not added."""
        _start(self._of(name))

    def stop(self, name: str) -> None:
        """End what `start` began. Raises `KeyError` when it did not."""
        checkpoint = self._of(name)
        if "start" not in checkpoint:
            raise KeyError("Checkpoint has not been started.")
        _stop(checkpoint)

    def get_checkpoints(self) -> list[_Checkpoint]:
        """Those that are complete: `name`, `start_utc`, `stop_utc` (ISO 8601) and `duration_ms`."""
        with self._lock:
            done = [checkpoint for checkpoint in self._all if "duration_ms" in checkpoint]
        return [{key: value for key, value in checkpoint.items() if key != "start"} for checkpoint in done]

    def clear(self) -> None:
        """Forget all of them."""
        with self._lock:
            self._all: list[_Checkpoint] = []
            self._by_name: dict[str, _Checkpoint] = {}

    def begin(self, name: str) -> _Checkpoint:
        """Start another checkpoint, whether or not there is one of that name."""
        checkpoint = self._append(name)
        _start(checkpoint)
        return checkpoint

    def end(self, checkpoint: _Checkpoint) -> None:
        """Stop what `begin` gave."""
        _stop(checkpoint)

    def _append(self, name: str) -> _Checkpoint:
        checkpoint: _Checkpoint = {"name": name}
        with self._lock:
            self._all.append(checkpoint)
            self._by_name[name] = checkpoint
            if len(self._all) > CHECKPOINTS_MAX:
                oldest = self._all.pop(0)
                if self._by_name.get(oldest["name"]) is oldest:
                    del self._by_name[oldest["name"]]
        return checkpoint

    def _of(self, name: str) -> _Checkpoint:
        with self._lock:
            if name not in self._by_name:
                raise KeyError(f"Checkpoint name '{name}' does not exist.")
            return self._by_name[name]


class LineTimer:
    """`with LineTimer(name):` measures what is inside."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._running: list[_Checkpoint] = []

    def __enter__(self) -> None:
        self._running.append(Checkpoints().begin(self.name))

    def __exit__(self, *error: object) -> None:
        Checkpoints().end(self._running.pop())


class FunctionTimer:
    """`@FunctionTimer` measures each call of a function, also of an asynchronous one, under the function's name."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        functools.update_wrapper(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        running = Checkpoints().begin(self.function.__name__)
        try:
            result = self.function(*args, **kwargs)
        except BaseException:
            Checkpoints().end(running)
            raise
        if inspect.isawaitable(result):
            return _awaited(result, running)
        Checkpoints().end(running)
        return result


async def _awaited(result: Any, running: _Checkpoint) -> Any:
    try:
        return await result
    finally:
        Checkpoints().end(running)


def get_debugger_output() -> dict[str, Any]:
    """`system_info` and `timestamps` (see `Checkpoints.get_checkpoints`); forgets the checkpoints."""
    timestamps = Checkpoints().get_checkpoints()
    clear_debugger_output()
    return {"system_info": _system_info(), "timestamps": timestamps}


def clear_debugger_output() -> None:
    """Forget the checkpoints."""
    Checkpoints().clear()


@functools.cache
def _system_info() -> dict[str, str]:
    return {
        "os": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "python_version": platform.python_version(),
        "runpod": submodel.__version__,
        "submodel": submodel.__version__,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "Unable to get processor info."


def _start(checkpoint: _Checkpoint) -> None:
    checkpoint["start"] = time.perf_counter()
    checkpoint["start_utc"] = _now()


def _stop(checkpoint: _Checkpoint) -> None:
    checkpoint["duration_ms"] = (time.perf_counter() - checkpoint["start"]) * 1000
    checkpoint["stop_utc"] = _now()


def _now() -> str:
    return datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")
