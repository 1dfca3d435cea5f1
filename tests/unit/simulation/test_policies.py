"""The rules of others do what their documentation says, each at the instant that tells it apart."""

from dataclasses import dataclass, field

import pytest

from submodel_operator.errors import UsageError
from submodel_operator.simulation import policies
from submodel_operator.simulation.cluster import Cluster, Conditions, Record
from submodel_operator.simulation.workloads import Job, Workload

CONDITIONS = Conditions(cold_start_seconds=1.0, late_after_seconds=10.0)


@dataclass
class Run:
    """How many workers a policy wanted, by the second."""

    policy: str
    jobs: list[Job] = field(default_factory=list)
    seconds: float = 1500.0
    record: Record = field(init=False)
    wanted: list[int] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        traffic = Workload("made", tuple(sorted(self.jobs)), self.seconds)
        cluster = Cluster(traffic, policies.build(self.policy, traffic, CONDITIONS), CONDITIONS)
        for second in range(int(self.seconds)):
            cluster._at(float(second), lambda: self.wanted.append(cluster.wanted))
        self.record = cluster.run()

    def reached(self, workers: int) -> int:
        """The first second at which so many were wanted."""
        return next(second for second, wanted in enumerate(self.wanted) if wanted >= workers)

    def back_at_zero(self) -> int:
        """The first second after work at which none were wanted."""
        begun = self.reached(1)
        return next(second for second, wanted in enumerate(self.wanted) if second > begun and not wanted)


def burst(count: int, at: float = 100.0, seconds: float = 5.0) -> list[Job]:
    return [Job(at, seconds) for _ in range(count)]


def test_the_hpa_adds_at_most_four_from_zero_and_doubles_and_stays_five_minutes() -> None:
    run = Run("HPA", burst(40, seconds=60.0))
    assert (run.reached(1), run.wanted[run.reached(1) + 1]) == (106, 4)
    assert run.reached(8) == 121
    assert 440 <= run.back_at_zero() <= 600


def test_keda_goes_to_one_at_its_poll_and_to_zero_after_its_cooldown() -> None:
    run = Run("KEDA", burst(40, seconds=5.0))
    assert run.wanted[run.reached(1) + 1] == 1
    assert run.reached(1) <= 121
    assert run.back_at_zero() - run.reached(1) >= 300
    quick = Run("KEDA:poll=5,cooldown=60", burst(1))
    assert quick.reached(1) <= 106
    assert quick.back_at_zero() < run.back_at_zero()


def test_keda_on_the_queue_alone_forgets_the_jobs_that_run() -> None:
    jobs = burst(1, seconds=700.0)
    alone, both = Run("KEDA:running=0", jobs, seconds=2000.0), Run("KEDA", jobs, seconds=2000.0)
    assert alone.record.interrupted > both.record.interrupted == 0


def test_knative_panics_on_a_burst_and_leaves_after_its_window_and_grace() -> None:
    run = Run("KPA", burst(40, seconds=5.0))
    assert run.reached(1) == 101
    assert max(run.wanted[100:112]) >= 40
    assert 150 <= run.back_at_zero() <= 260


def test_kubeai_follows_a_mean_of_ten_minutes() -> None:
    run = Run("KUBEAI", burst(60, seconds=500.0))
    assert run.wanted[102] == 1
    assert run.wanted[250] < 30


def test_ray_serve_waits_thirty_seconds_up_and_ten_minutes_down() -> None:
    run = Run("RAY", [*burst(1, 90.0, 700.0), *burst(20, 100.0, 200.0)], seconds=2000.0)
    assert run.wanted[120] == 1
    assert max(run.wanted[130:180]) > 1
    peak = max(run.wanted)
    assert run.wanted[600] == peak


def test_beta9_starts_one_per_task_at_once_and_keeps_them_warm_for_ten_seconds() -> None:
    run = Run("BETA9", burst(20))
    assert run.reached(20) == 101
    assert run.record.interrupted == 0
    assert 112 <= run.back_at_zero() <= 130


def test_the_hosted_rules_start_one_at_the_first_job_or_one_for_each_value() -> None:
    assert Run("QUEUE_DELAY", burst(20)).wanted[102] == 1
    assert Run("REQUEST_COUNT", burst(20)).wanted[101] == 5


def test_the_oracle_has_its_workers_ready_when_the_jobs_come() -> None:
    run = Run("ORACLE", burst(20))
    assert max(run.record.delays) == 0.0


def test_fixed_numbers_come_from_the_traffic() -> None:
    assert Run("FIXED-PEAK", burst(20)).wanted[50] == 20
    assert Run("FIXED-MEAN:workers=3", burst(20)).wanted[50] == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("MAGIC", "^scaler MAGIC: there is none of that name; use one of ADAPTIVE, QUEUE_DELAY"),
        ("ADAPTIVE:speed=3", "no option 'speed'; use value, idle"),
        ("KEDA:poll=often", "poll is a number, not 'often'"),
        ("ORACLE:x=1", "no option 'x'; it has none"),
        ("REQUEST_COUNT:value=0.5", "scaling.scalerValue counts jobs per worker"),
        ("ADAPTIVE:idle=-1", "idleTimeout is 1 to 3600 seconds"),
    ],
)
def test_a_policy_that_cannot_be_is_named_with_what_to_do(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        policies.build(text, Workload("made", (), 1.0), CONDITIONS)


def test_the_first_option_needs_no_name() -> None:
    assert policies.build("REQUEST_COUNT:2", Workload("made", (), 1.0), CONDITIONS).name == "REQUEST_COUNT:2"
