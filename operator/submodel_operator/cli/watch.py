"""`submodel up --watch`: the terminal shows queue, workers and the last decision, anew whenever one of them changes.

A screen of its own (the alternate one of the terminal) holds the view; when it ends, the lines that were seen last stay
on the screen that was there before. Where nobody looks (a pipe, a dumb terminal) the lines are all there is.
"""

import asyncio
import os
import shutil
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TextIO

from submodel_operator.cli.console import Console, LocalTime
from submodel_operator.cli.frame import Picture, frame, plain
from submodel_operator.clock import pause

SECONDS_SHOWN: Final = 300
LINES_KEPT: Final = 200
LINES_LEFT: Final = 10

FRAME_SECONDS: Final = 0.05
"""The shortest time between two frames: a worker may write thousands of lines a second."""

_ENTER: Final = "\x1b[?1049h\x1b[?25l"
_LEAVE: Final = "\x1b[?25h\x1b[?1049l"
_HOME: Final = "\x1b[H"
_LINE_END: Final = "\x1b[K\n"
_END: Final = "\x1b[K\x1b[J"


def watchable(stream: TextIO, term: str) -> bool:
    """Whether somebody looks at `stream` through a terminal that can move its cursor."""
    return stream.isatty() and term not in ("", "dumb")


class Watch(Console):
    """A console that keeps what it is told and shows it as a picture."""

    def __init__(self, local_time: LocalTime, endpoint: str, stream: TextIO) -> None:
        super().__init__(local_time)
        self._endpoint = endpoint
        self._stream = stream
        self._url = ""
        self._status: Mapping[str, Any] = {}
        self._queue: deque[int] = deque(maxlen=SECONDS_SHOWN)
        self._lines: deque[str] = deque(maxlen=LINES_KEPT)
        self._shown = False
        self._news: asyncio.Event | None = None
        """While the view moves by itself: that there is something to show."""

    @contextmanager
    def screen(self) -> Iterator[None]:
        """The view is on the terminal, which is as it was before afterwards."""
        self._write(_ENTER)
        self._shown = True
        try:
            self._draw()
            yield
        finally:
            self._shown = False
            self._write(_LEAVE)
            for line in list(self._lines)[-LINES_LEFT:]:
                self._write(plain(line) + "\n")

    async def run(self) -> None:
        """Follow the news, and the clock, until cancelled."""
        self._news = asyncio.Event()
        loop = asyncio.get_running_loop()
        next_second_at = loop.time()
        try:
            while True:
                if loop.time() >= next_second_at:
                    self._queue.append((self._status.get("jobs") or {}).get("queued", 0))
                    next_second_at += 1.0
                self._news.clear()
                self._draw()
                await pause(FRAME_SECONDS)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), max(0.0, next_second_at - loop.time()))
        finally:
            self._news = None

    def welcome(self, manifest: Path, url: str, folder: Path) -> None:
        """See `Console`."""
        self._url = url
        self.line(f"jobs are in {folder}; {manifest} is read again when it changes")

    def line(self, text: str) -> None:
        """See `Console`. A worker's line may have been several."""
        stamp = time.strftime("%H:%M:%S", self._local_time())
        self._lines += [f"{stamp} {each}" for each in text.splitlines()]
        if self._shown:
            self._show()
        else:
            super().line(text)

    def problem(self, text: str) -> None:
        """See `Console`."""
        self.line(f"! {text}")

    def status(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        """See `Console`."""
        self._status = after
        super().status(before, after)
        self._show()

    def _show(self) -> None:
        if self._news is None:
            self._draw()
        else:
            self._news.set()

    def _draw(self) -> None:
        if not self._shown:
            return
        columns, rows = shutil.get_terminal_size()
        picture = Picture(
            endpoint=self._endpoint,
            time=time.strftime("%H:%M:%S", self._local_time()),
            url=self._url,
            status=self._status,
            queue=tuple(self._queue),
            lines=tuple(self._lines),
        )
        # The last line has no end: it would push the first one out at the top.
        self._write(_HOME + _LINE_END.join(frame(picture, columns, rows)) + _END)

    def _write(self, text: str) -> None:
        """A terminal that cannot show a sign shows a question mark; one that was closed shows nothing."""
        encoding = self._stream.encoding or "utf-8"
        try:
            self._stream.write(text.encode(encoding, "replace").decode(encoding))
            self._stream.flush()
        except OSError:
            self._stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 # for the rest of the process


def console(endpoint: str, *, watch: bool) -> Console:
    """The console of `submodel up`."""
    if watch and watchable(sys.stdout, os.environ.get("TERM", "")):
        return Watch(time.localtime, endpoint, sys.stdout)
    return Console(time.localtime)
