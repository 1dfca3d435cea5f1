"""What the executor needs of whoever gives it jobs: the gateway's exchange in a worker, a table in memory on a desk."""

from typing import Protocol

from submodel.serverless.dialect import Flow
from submodel.serverless.outcome import Outcome


class JobSource(Protocol):
    """Called by the executor, from the thread that runs handlers. `token` names one execution of a job."""

    def begin(self, token: str) -> bool:
        """The handler is about to be called; False when it shall not be."""

    def add_chunk(self, token: str, chunk: bytes) -> Flow:
        """A yielded item as JSON text, and how the generator goes on."""

    def finish(self, token: str, outcome: Outcome, execution_ms: int) -> None:
        """The handler has ended."""

    def limit(self, concurrency: int) -> bool:
        """Hand out no more than so many jobs at once; whether that is fewer than before."""

    def wait_for_room(self) -> None:
        """Wait until items may flow again."""
