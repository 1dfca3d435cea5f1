"""What both dialects do for handlers, here with a gateway that is away: nothing comes and nothing is taken."""

import threading
from typing import Any

import msgspec

from submodel.contract.exchange import ExchangeAnswer, JobPolicy, LeasedJob
from submodel.serverless.conversation import Conversation
from submodel.serverless.dialect import Flow
from submodel.serverless.outcome import of_timeout
from submodel.serverless.session import CONGESTED_BYTES, Flight, Session


class Away(Conversation):
    """Its gateway has handed out one job, and is away since."""

    def __init__(self) -> None:
        session = Session("s", 1)
        super().__init__(session, lambda: None)
        session.ready()
        take = session.next_request(0.0)
        assert isinstance(take, Flight)
        job = LeasedJob(id="a", token="t", input=msgspec.Raw(b"1"), policy=JobPolicy())
        session.answered(take, ExchangeAnswer(jobs=[job]), 0.0)

    def start(self) -> None:
        """There is nobody to speak with."""

    def leave(self) -> None:
        """There is nobody to tell."""


class Waiting(threading.Thread):
    """A generator that waits for room; `begun` is set when it is about to."""

    def __init__(self, away: Away) -> None:
        super().__init__(daemon=True)
        self._away = away
        self.begun = threading.Event()

    def run(self) -> None:
        self.begun.set()
        self._away.wait_for_room()


def test_a_generator_that_waits_for_a_gateway_that_is_away_goes_on_when_its_job_is_over_its_time() -> None:
    away = Away()
    assert away.begin("t")
    assert away.add_chunk("t", b"x" * (CONGESTED_BYTES + 1)) is Flow.WAIT
    generator = Waiting(away)
    generator.start()
    generator.begun.wait()
    while not waits(away):
        pass
    away.finish("t", of_timeout(), 0)
    generator.join(20)
    assert not generator.is_alive()


def waits(away: Any) -> bool:
    """Whether somebody waits for room."""
    return bool(away._room._waiters)
