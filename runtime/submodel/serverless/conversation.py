"""What the worker and the gateway have to say to each other, whatever the dialect: the side that handlers see.

A dialect is a session, which is pure (`session`, `legacy_session`), and threads around it that give it a clock and
connections (`exchange`, `legacy_exchange`). They are apart from the handler's thread, so that heartbeats, results and
streams flow while a handler blocks. One lock guards the session.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable

from submodel.contract.exchange import Startup
from submodel.serverless.dialect import Flow, News, SessionFacts
from submodel.serverless.exits import end_process
from submodel.serverless.log import logger
from submodel.serverless.outcome import Outcome


class Conversation(ABC):
    """The worker's conversation with its gateway. Every method may be called from any thread.

    Args:
        on_settled: called once, from a protocol thread, when a worker that leaves has nothing left to say, or one
            that failed has said so.
    """

    def __init__(self, session: SessionFacts, on_settled: Callable[[], None]) -> None:
        self._facts = session
        self._on_news: Callable[[News], None] = _ignore
        self._on_settled = on_settled
        self._settled = False
        self._lock = threading.Lock()
        self._something_to_say = threading.Condition(self._lock)
        self._room = threading.Condition(self._lock)
        self._listening = 0
        """Threads that wait for something to say."""

        self._called = False
        """Whether one of them was woken and has not looked since."""

    @abstractmethod
    def start(self) -> None:
        """Start the threads; the gateway hears of this worker as soon as it can be reached."""

    @abstractmethod
    def leave(self) -> None:
        """Take no more jobs, finish what runs, deliver; `on_settled` tells the end."""

    def ready(self, on_news: Callable[[News], None], startup: Startup) -> None:
        """Ask for jobs; `on_news` is called from a protocol thread."""
        with self._something_to_say:
            self._facts.set_startup(startup)
            self._on_news = on_news
            self._facts.ready()
            self._call_thread()

    def fail(self, reason: str) -> None:
        """Tell the gateway that this worker cannot serve."""
        with self._something_to_say:
            self._facts.fail(reason)
            self._call_thread()

    def begin(self, token: str) -> bool:
        """See `SessionFacts`."""
        with self._something_to_say:
            return self._facts.begin(token)

    def add_chunk(self, token: str, chunk: bytes) -> Flow:
        """Stream a chunk, the JSON of one item; says how the generator goes on."""
        with self._something_to_say:
            flow, earlier = self._facts.add_chunk(token, chunk)
            if earlier:  # a thread that is woken for each item takes the interpreter from the generator each time
                self._call_thread()
            return flow

    def set_progress(self, job_id: str, value: bytes) -> None:
        """Publish the progress of a running job, as JSON; the newest wins."""
        with self._something_to_say:
            self._facts.set_progress(job_id, value)
            self._call_thread()

    def finish(self, token: str, outcome: Outcome, execution_ms: int) -> None:
        """The handler returned. The outcome of a job that is no longer wanted is dropped."""
        with self._something_to_say:
            self._facts.finish(token, outcome, execution_ms)
            self._room.notify_all()  # a generator's, whose job ended while the gateway is away
            self._call_thread()
            self._check_settled()

    def limit(self, concurrency: int) -> bool:
        """Take at most this many jobs at once from now on, whatever is wished; says whether that is a change."""
        with self._something_to_say:
            return self._facts.limit(concurrency)

    def set_concurrency(self, concurrency: int) -> None:
        """Jobs at once from now on; those that run go on."""
        with self._something_to_say:
            self._facts.set_concurrency(concurrency)
            self._call_thread()

    def wait_for_room(self) -> None:
        """Block a generator that was told to wait until the gateway has taken enough, or nothing more is sent."""
        with self._room:
            self._room.wait_for(lambda: self._settled or not self._facts.congested)

    def give_up(self) -> int:
        """Give back the jobs that still run; returns how many."""
        with self._something_to_say:
            tokens = self._facts.give_up()
            self._call_thread()
            return len(tokens)

    # For the dialects:

    def _start(self, name: str, converse: Callable[[], None]) -> None:
        """Run `converse` in a thread of its own; a defect in it ends the process, which could not serve without."""
        threading.Thread(target=_guarded, args=(converse,), name=name, daemon=True).start()

    def _call_thread(self) -> None:
        """Under the lock: let a thread look what there is to say. Until it does, whatever comes up is a part of that.

        A thread that is woken for each of many results takes the interpreter from the handlers each time.
        """
        if self._listening and not self._called:
            self._called = True
            self._something_to_say.notify()

    def _listen(self, seconds: float) -> None:
        """Under the lock, in a protocol thread: wait for a call, at most so long."""
        self._listening += 1
        self._something_to_say.wait(min(seconds, threading.TIMEOUT_MAX))
        self._listening -= 1
        self._called = False

    def _tell(self, news: News) -> None:
        """Under the lock, so that two answers reach the executor in the order in which they were read."""
        self._room.notify_all()
        self._check_settled()
        if news.jobs or news.stops:
            self._on_news(news)

    def _check_settled(self) -> None:
        if not self._settled and self._facts.settled:
            self._settled = True
            self._room.notify_all()
            self._on_settled()


def _guarded(converse: Callable[[], None]) -> None:
    try:
        converse()
    except Exception:
        logger.critical("A defect of the runtime ends this worker:", exc_info=True)
        end_process(70)


def _ignore(news: News) -> None:
    """Before `ready` no job was asked for."""
