"""The decision log and `submodel replay`: the same arguments give the same decision, in another process too."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given

from submodel_operator.cli import cli
from submodel_operator.errors import UsageError
from submodel_operator.reconcile import DecisionLog, Reconciler
from submodel_operator.scaling import ScalerState, ScalingInputs, decide
from submodel_operator.scaling.log import Record, decided_again, decode_record, encode_record
from tests.support.endpoints import KEY, manifest, scaling, signals, view, worker_settings
from tests.support.memory_world import ManualClock, MemoryCluster, MemoryGateway
from tests.support.scaling_strategies import Tick, ticks

MANIFEST = """
apiVersion: serverless.submodel.ai/v1alpha1
kind: SubModelEndpoint
metadata: {name: tokens}
spec:
  worker: {image: x}
  scaling: {scalerType: REQUEST_COUNT, scalerValue: 1, workersMax: 9}
"""


def replay(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["replay", *map(str, arguments)])


def first_of(log: Path) -> Path:
    """A log with the first of these decisions alone."""
    first = log.with_name("first.jsonl")
    first.write_bytes(log.read_bytes().splitlines(keepends=True)[0])
    return first


@pytest.fixture
async def log(tmp_path: Path) -> Path:
    """The decisions of an endpoint that woke for three jobs and went to rest again."""
    path = tmp_path / "decisions.jsonl"
    cluster, gateway, clock = MemoryCluster(), MemoryGateway(), ManualClock()
    reconciler = Reconciler(cluster, gateway, clock, worker_settings(), decisions=DecisionLog(path))
    cluster.put(manifest())
    await reconciler.reconcile(KEY)
    gateway.say(signals(queued=3))
    clock.seconds += 2
    await reconciler.reconcile(KEY)
    (name,) = cluster.start_missing()
    revision = cluster.endpoints[KEY].pools[0].revision
    for draining in (False, True):
        gateway.say(signals(view(name, revision, idle_since_ms=0, draining=draining)))
        clock.seconds += 2
        await reconciler.reconcile(KEY)
    return path


async def test_a_log_replays_to_the_same_decisions(log: Path) -> None:
    result = replay(log)
    assert result.output.splitlines() == [
        "2027-01-15T08:00:02Z team-a.tokens  0 → 1 (FirstJob)  same",
        "2027-01-15T08:00:04Z team-a.tokens  1 → 0 (IdleTimeout)  same",
        "2 decisions, 0 of them different",
    ]
    assert result.exit_code == 0


async def test_other_settings_show_what_they_would_have_decided(log: Path, tmp_path: Path) -> None:
    path = tmp_path / "endpoint.yaml"
    path.write_text(MANIFEST, encoding="utf-8")
    result = replay(log, "--scaling", path, "--endpoint", "team-a.tokens")
    assert "now 3 (RequestCount): 3 queued and 0 running jobs" in result.output
    assert result.exit_code == 0
    assert replay(first_of(log)).output.splitlines()[-1] == "1 decision, 0 of them different"
    assert replay(log, "--endpoint", "team-b.other").output == "0 decisions, 0 of them different\n"


def test_a_decision_that_comes_out_differently_is_shown_and_fails(log: Path) -> None:
    log.write_bytes(log.read_bytes().replace(b'"replicas":1,"term":"FirstJob"', b'"replicas":2,"term":"FirstJob"'))
    result = replay(log)
    assert "0 → 2 (FirstJob)  now 1 (FirstJob): 3 jobs queued and no worker runs: start one" in result.output
    assert result.exit_code == 1


@pytest.mark.parametrize("text", [b"{}\n", b"not json\n", b"\xff\n"])
def test_a_line_that_is_no_decision_is_named(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "log"
    path.write_bytes(text)
    result = replay(path)
    assert isinstance(result.exception, UsageError)
    assert "line 1 is no decision" in str(result.exception)
    assert "name a file that submodel up --decisions" in str(result.exception)
    assert isinstance(replay(tmp_path / "missing").exception, UsageError)


def test_a_log_that_cannot_be_written_costs_no_decision(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = DecisionLog(tmp_path / "missing" / "log")
    inputs_record = _record()
    log.write(inputs_record)
    log.write(inputs_record)
    assert caplog.text.count("cannot be written") == 1


@given(ticks())
def test_every_decision_survives_the_way_through_the_log(history: list[Tick]) -> None:
    state = ScalerState()
    for inputs, now in history:
        decision, following = decide(inputs, state, now)
        record = Record("team-a.tokens", now, inputs, state, decision)
        read = decode_record(encode_record(record).rstrip())
        assert read == record
        assert decided_again(read) == decision
        state = following


def _record() -> Record:
    inputs = ScalingInputs(scaling(), 0, (), (), None)
    return Record("team-a.tokens", 1.0, inputs, ScalerState(), decide(inputs, ScalerState(), 1.0)[0])
