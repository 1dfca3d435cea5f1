"""The simulated cluster: what it counts is what happened."""

from dataclasses import dataclass, field, replace

import pytest

from submodel_gateway.service import snapshots
from submodel_operator.gateway_client import POLL_MS
from submodel_operator.scaling import ScalingInputs, StartingWorker, WorkerSignal
from submodel_operator.simulation import policies, production, workloads
from submodel_operator.simulation.cluster import Cluster, Conditions, Order, Scaler
from submodel_operator.simulation.measures import interval, mean, measure, percentile
from submodel_operator.simulation.workloads import Job, Workload

CONDITIONS = Conditions(cold_start_seconds=10.0, late_after_seconds=5.0)


def workload(*jobs: Job, seconds: float = 100.0) -> Workload:
    return Workload("made", tuple(jobs), seconds)


@dataclass
class Steps:
    """Wants a number at each look; whom it loses is left to Kubernetes."""

    numbers: list[int]
    name: str = "steps"
    period_seconds: float = 10.0
    sleeps: bool = False
    waits_seconds: float = float("inf")
    wakes: bool = False
    grace_seconds: float = 5.0
    seen: list[int] = field(default_factory=list)

    def decide(self, cluster: Cluster) -> Order:
        self.seen.append(len(cluster.queue) + cluster.in_progress)
        return Order(self.numbers.pop(0) if len(self.numbers) > 1 else self.numbers[0])


def test_a_job_at_no_worker_waits_for_one_start() -> None:
    result = measure(workload(Job(1.0, 2.0)), policies.build("QUEUE_DELAY", workload(), CONDITIONS), CONDITIONS)
    assert 6.0 < result.delay_p50_seconds < 20.0  # a start of ten seconds, give or take its spread
    assert (result.late_percent, result.unavoidable_percent, result.cold_starts) == (100.0, 100.0, 1)


def test_starts_take_as_long_as_those_that_were_measured() -> None:
    measured = replace(CONDITIONS, measured_starts_seconds=(3.0, 4.5))
    jobs = workload(*(Job(100.0 * number, 2.0) for number in range(1, 9)), seconds=1000.0)
    record = Cluster(jobs, policies.build("QUEUE_DELAY", jobs, measured), measured).run()
    took = [round(worker.ready_at - worker.started_at, 6) for worker in record.workers]
    assert (len(took), set(took)) == (8, {3.0, 4.5})


def test_the_production_decision_hears_what_changed_together_and_of_a_standing_queue_every_second() -> None:
    jobs = workload(*(Job(at, 30.0) for at in (10.0, 10.05, 10.1, 10.19)), seconds=16.0)
    scaler = policies.build("REQUEST_COUNT:value=1,max=1", jobs, CONDITIONS)
    looks, decide = list[float](), scaler.decide

    def told(cluster: Cluster) -> Order:
        looks.append(round(cluster.now, 2))
        return decide(cluster)

    scaler.decide = told  # type: ignore[method-assign]
    Cluster(jobs, scaler, replace(CONDITIONS, measured_starts_seconds=(100.0,))).run()
    assert looks[1:6] == [10.0, 10.2, 11.2, 12.2, 13.2]


@pytest.mark.parametrize("policy", ["ADAPTIVE", "QUEUE_DELAY", "REQUEST_COUNT:value=1"])
def test_the_production_decision_is_told_of_every_worker_as_it_is_at_each_look(policy: str) -> None:
    conditions, jobs = replace(CONDITIONS, concurrency=2), workloads.make("on-off", 1, 900.0)
    scaler = policies.build(policy, jobs, conditions)
    assert isinstance(scaler, production.Production)
    told, most = scaler.inputs, 0

    def compared(cluster: Cluster) -> ScalingInputs:
        nonlocal most
        inputs, now, present = told(cluster), cluster.now, cluster.workers.values()
        assert inputs.workers == tuple(
            WorkerSignal(
                each.name,
                each.running,
                None if each.running else now - each.idle_since,
                start_seconds=each.ready_at - each.started_at,
            )
            for each in present
            if each.ready
        )
        assert inputs.starting == tuple(
            StartingWorker(each.name, now - each.started_at) for each in present if not each.ready
        )
        most = max(most, len(inputs.workers))
        return inputs

    scaler.inputs = compared  # type: ignore[method-assign]
    assert Cluster(jobs, scaler, conditions).run().finished
    assert most > 3


def test_the_simulated_operator_hears_as_often_as_the_real_one() -> None:
    assert (production.NEWS_SECONDS, production.HELD_SECONDS) == (snapshots.COALESCE_MS / 1000, POLL_MS / 1000)


def test_costs_are_what_workers_did_from_their_start_to_their_end() -> None:
    result = measure(workload(Job(50.0, 7.2)), Steps([1]), CONDITIONS)
    assert result.busy_hours == pytest.approx(0.002)
    assert result.worker_hours == pytest.approx(100 / 3600)
    assert (result.delay_p50_seconds, result.unfinished) == (0.0, 0.0)


def test_a_worker_that_kubernetes_chose_interrupts_its_job_after_the_grace_and_the_job_runs_again() -> None:
    cluster = Cluster(workload(Job(30.0, 40.0)), Steps([1, 1, 1, 1, 1, 0, 1]), CONDITIONS)
    record = cluster.run()
    assert (record.interrupted, len(record.delays), record.finished) == (1, 1, True)
    assert 20.0 < record.wasted_seconds <= 25.0  # it ran from 30 to 55
    assert record.delays[0] > 25.0


def test_a_shrink_by_number_takes_starting_workers_first() -> None:
    cluster = Cluster(workload(Job(5.0, 30.0)), Steps([1, 1, 1, 3, 1]), replace(CONDITIONS, cold_start_seconds=60.0))
    record = cluster.run()
    assert record.interrupted == 0
    assert sum(worker.ended_at is not None and not worker.ready for worker in record.workers) == 2


def test_the_last_worker_to_become_free_gets_the_next_job() -> None:
    jobs = [Job(float(second), 0.5) for second in range(40, 90)]
    record = Cluster(workload(*jobs), Steps([5]), CONDITIONS).run()
    assert sorted(round(worker.busy_seconds) for worker in record.workers) == [0, 0, 0, 0, 25]


def test_workers_with_several_slots_share_their_cost_among_them() -> None:
    jobs = [Job(50.0, 10.0) for _ in range(4)]
    result = measure(workload(*jobs), Steps([1]), replace(CONDITIONS, concurrency=4))
    assert result.delay_p99_seconds == 0.0
    assert result.busy_hours == pytest.approx(10 / 3600)


@pytest.mark.parametrize("policy", policies.ALL)
@pytest.mark.parametrize("name", ["gamma", "batch"])
def test_every_job_runs_to_its_end_once_under_every_policy(policy: str, name: str) -> None:
    traffic = workloads.make(name, 3, 400.0)
    scaler: Scaler = policies.build(policy, traffic, CONDITIONS)
    record = Cluster(traffic, scaler, CONDITIONS).run()
    assert record.finished
    assert len(record.delays) == len(traffic.jobs)
    ran = sum(worker.busy_seconds for worker in record.workers)
    assert ran == pytest.approx(sum(job.seconds for job in traffic.jobs) + record.wasted_seconds)


@pytest.mark.parametrize("policy", ["ADAPTIVE", "QUEUE_DELAY", "REQUEST_COUNT:value=1"])
@pytest.mark.parametrize("name", workloads.SHAPES)
def test_ours_never_interrupts_a_job(policy: str, name: str) -> None:
    traffic = workloads.make(name, 5, 700.0)
    assert measure(traffic, policies.build(policy, traffic, CONDITIONS), CONDITIONS).interrupted == 0


def test_the_same_seed_gives_the_same_run_and_another_seed_another() -> None:
    def run(seed: int) -> object:
        traffic = workloads.make("gamma", seed, 100.0)
        return measure(traffic, policies.build("ADAPTIVE", traffic, CONDITIONS), CONDITIONS)

    assert run(1) == run(1) != run(2)


@pytest.mark.parametrize(("name", "per_hour"), [("steady", 10_800), ("gamma", 7200), ("on-off", 4464), ("sparse", 30)])
def test_made_up_traffic_has_the_rate_that_it_says(name: str, per_hour: float) -> None:
    jobs = [len(workloads.make(name, seed, 3600.0).jobs) for seed in range(6)]
    assert sum(jobs) / 6 == pytest.approx(per_hour, rel=0.25)


def test_a_mean_of_runs_and_its_confidence() -> None:
    one = measure(workload(Job(50.0, 1.0)), Steps([1]), CONDITIONS)
    two = measure(workload(Job(50.0, 3.0)), Steps([1]), CONDITIONS)
    assert mean([one, two]).busy_hours == pytest.approx(2 / 3600)
    assert interval([1.0]) == 0.0
    assert interval([1.0, 2.0, 3.0, 4.0]) == pytest.approx(3.18 * 1.291 / 2, rel=0.01)
    assert (percentile([1.0, 2.0, 3.0, 4.0], 0.5), percentile([], 0.5)) == (2.0, 0.0)
