"""`submodel up`: one manifest, this machine. Gateway, worker processes and the operator's own reconcile loop."""

import asyncio
import logging
import os
import secrets
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from submodel_operator.api.manifest import read_manifest
from submodel_operator.api.v1alpha1 import SubModelEndpoint
from submodel_operator.cli.local_status import remove_local_status, write_local_gateway, write_local_status
from submodel_operator.cli.watch import console
from submodel_operator.clock import SystemClock
from submodel_operator.errors import GatewayRefused, GatewayUnavailable, InvalidEndpoint, UsageError
from submodel_operator.gateway_client import GatewayClient
from submodel_operator.local import LocalCluster, LocalGateway
from submodel_operator.ports import Key, Manifest
from submodel_operator.reconcile import Controller, DecisionLog, KeyedQueue, Reconciler
from submodel_operator.resolve import refuse_reserved_names, resolve_scaling
from submodel_operator.settings import WorkerSettings

LOCAL_IMAGE = "submodel-worker"
"""Stands in the pod specs of local mode, where no image is ever pulled."""


STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, `kill`, and the terminal that was closed."""

STATUS_PERIOD_SECONDS = 0.1
"""A terminal bears more news than a cluster's API server."""


@click.command("up", short_help="Run an endpoint on this machine, without a cluster.")
@click.option("-f", "--file", "path", required=True, type=click.Path(path_type=Path), help="Manifest of the endpoint.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="Port of the job API.")
@click.option(
    "--data",
    "folder",
    default=Path(".submodel"),
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder of the job database; jobs in it survive a restart.",
)
@click.option("--decisions", type=click.Path(path_type=Path), help="File to which scaling decisions are appended.")
@click.option("--watch", is_flag=True, help="Show queue, workers and the last decision as a picture that moves.")
def command(path: Path, port: int, folder: Path, decisions: Path | None, watch: bool) -> None:
    """Run an endpoint on this machine: gateway, job database and workers that scale to zero and back.

    The manifest is the one you would `kubectl apply`; it is read again whenever it changes. Ctrl-C lets running jobs
    end; a second Ctrl-C stops at once, and unfinished jobs wait in the database.
    """
    if not all(map(find_spec, ("submodel_gateway", "httptools", "uvloop", "watchfiles"))):
        raise UsageError("local mode needs the gateway: pip install 'submodel-operator[local]'")
    endpoint = _read(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--data: cannot create {folder}: {error.strerror}") from error
    run = _Up(path, endpoint, port, folder.resolve(), _decision_log(decisions), watch=watch)
    with run.console.screen():
        asyncio.run(run.run())


class _Up:
    """One run of `submodel up`."""

    def __init__(
        self,
        path: Path,
        endpoint: SubModelEndpoint,
        port: int,
        folder: Path,
        decisions: DecisionLog | None,
        *,
        watch: bool,
    ) -> None:
        self._path = path
        self._endpoint = endpoint
        self._key = Key(endpoint.metadata.namespace, endpoint.metadata.name)
        self._folder = folder
        self._decisions = decisions
        self.console = console(f"{self._key.namespace}/{self._key.name}", watch=watch)
        logging.basicConfig(level=logging.WARNING, handlers=[self.console.log_handler()])
        self._queue: KeyedQueue[Key] = KeyedQueue()
        endpoint_id = endpoint.spec.endpoint_id or self._key.endpoint_id
        self._gateway = LocalGateway(folder, f"127.0.0.1:{port}", endpoint_id, self.console.line)
        self._cluster = LocalCluster(
            folder=folder / "handlers",
            variables=os.environ,
            announce=self.console.line,
            changed=self._queue.add,
            status_written=self._status_written,
        )
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()

    async def run(self) -> None:
        """Run until a signal; then end workers, then the gateway."""
        await self._gateway.start()
        try:
            write_local_gateway(self._folder, self._gateway.internal_url, self._gateway.token)
            with self._signals():
                async with GatewayClient(self._gateway.internal_url, self._gateway.token, SystemClock()) as client:
                    await self._serve(client)
        finally:
            await self._gateway.stop()
            remove_local_status(self._folder)
        self.console.line(f"stopped; unfinished jobs wait in {self._folder}")

    async def _serve(self, client: GatewayClient) -> None:
        reconciler = Reconciler(
            self._cluster, client, SystemClock(), self._worker_settings(), STATUS_PERIOD_SECONDS, self._decisions
        )
        self._put()
        gateway = asyncio.create_task(self._gateway.run())
        others = [
            asyncio.create_task(self._tick()),
            asyncio.create_task(Controller(reconciler, self._queue, workers=1).run()),
            asyncio.create_task(client.watch(self._gateway_changed)),
            asyncio.create_task(self._reload()),
            asyncio.create_task(self._stop.wait()),
        ]
        done, _ = await asyncio.wait([gateway, *others], return_when=asyncio.FIRST_COMPLETED)
        await _cancel(others)
        await self._end_workers(client)
        await _cancel([gateway])  # not before: one that dies while workers deliver their results comes back
        for task in done:
            task.result()

    async def _tick(self) -> None:
        await self.console.run()
        await self._stop.wait()

    async def _end_workers(self, client: GatewayClient) -> None:
        if self._cluster.has_workers:
            self.console.line("stopping: running jobs may end; press Ctrl-C again to stop at once")
        await self._cluster.close(self._hurry)
        with suppress(GatewayUnavailable, GatewayRefused):  # then what a killed worker held waits for its lease to end
            for endpoint_id in client.ids_of(self._key):
                await client.publish_workers(endpoint_id, [])

    async def _reload(self) -> None:
        from watchfiles import awatch  # loads a native extension; only this command needs it

        path = self._path.resolve()
        async for _ in awatch(path.parent, recursive=False, watch_filter=lambda _, changed: changed == str(path)):
            self._reload_once()

    def _reload_once(self) -> None:
        try:
            endpoint = _read(self._path)
        except (UsageError, InvalidEndpoint) as error:
            self.console.problem(f"{error}; the last good manifest stays in force")
            return
        if Key(endpoint.metadata.namespace, endpoint.metadata.name) != self._key:
            self.console.problem(f"metadata.name changed from {self._key.name}: stop and start again to rename")
        elif endpoint.spec.endpoint_id != self._endpoint.spec.endpoint_id:
            self.console.problem("spec.endpointId changed, which it cannot while jobs wait: stop and start again")
        elif endpoint.spec != self._endpoint.spec:
            self._endpoint = endpoint
            self.console.line(f"{self._path} changed")
            self._put()

    def _put(self) -> None:
        # To the gateway it is the endpoint of the last run, whose jobs go on; and every start is newer than the last.
        self._cluster.put_endpoint(
            self._key, f"local-{self._key.endpoint_id}", int(SystemClock().now()), self._manifest()
        )

    def _manifest(self) -> Manifest:
        return self._endpoint.model_dump(mode="json", by_alias=True, exclude_none=True)

    def _status_written(self, before: Manifest, after: Manifest) -> None:
        # Before anything is shown: whoever reads the URL may ask `explain` or `what-if` about it at once.
        write_local_status(self._folder, self._key, after, self._manifest())
        if "url" in after and "url" not in before:  # from now on the gateway knows the endpoint
            self.console.welcome(self._path, after["url"], self._folder)
        self.console.status(before, after)

    def _gateway_changed(self, key: Key) -> None:
        if key == self._key:
            self._queue.add(key)

    def _worker_settings(self) -> WorkerSettings:
        return WorkerSettings(
            gateway_url=self._gateway.url,
            runtime_image=LOCAL_IMAGE,
            token_key=secrets.token_bytes(32),
            public_url=self._gateway.url,
        )

    @contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self._interrupt)
        yield
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)

    def _interrupt(self) -> None:
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()


def _decision_log(path: Path | None) -> DecisionLog | None:
    """Raises `UsageError` now, and not at the first decision, for a file that cannot be written."""
    if path is None:
        return None
    try:
        path.open("ab").close()
    except OSError as error:
        raise UsageError(f"--decisions: cannot write {path}: {error.strerror}") from error
    return DecisionLog(path)


def _read(path: Path) -> SubModelEndpoint:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--file: cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"--file: {path} is not UTF-8 text") from error
    try:
        endpoint = read_manifest(text, str(path))
        refuse_reserved_names(endpoint.spec.worker)
        resolve_scaling(endpoint.spec)
    except InvalidEndpoint as error:
        raise InvalidEndpoint([_in_file(path, problem) for problem in error.problems]) from error
    if endpoint.spec.worker.handler is None:
        raise InvalidEndpoint(
            [f"{path}: spec.worker.image: an image needs a cluster; use spec.worker.handler to run on this machine"]
        )
    if endpoint.spec.worker.handler.config_map_ref:
        problem = "spec.worker.handler.configMapRef: a ConfigMap needs a cluster; use inline to run on this machine"
        raise InvalidEndpoint([f"{path}: {problem}"])
    if missing := list(_missing_variables(endpoint)):
        raise InvalidEndpoint([f"{path}: {problem}" for problem in missing])
    return endpoint


def _missing_variables(endpoint: SubModelEndpoint) -> Iterator[str]:
    """The person's own variables stand in for Secrets and ConfigMaps; those that are not optional must be there."""
    for index, variable in enumerate(endpoint.spec.worker.env):
        source = variable.value_from
        key = source and (source.secret_key_ref or source.config_map_key_ref)
        if key and not key.optional and variable.name not in os.environ:
            place = f"spec.worker.env[{index}]: {variable.name} comes from {key.name}, which only a cluster has"
            yield f"{place}; set {variable.name} in your shell to run on this machine"


def _in_file(path: Path, problem: str) -> str:
    return problem if problem.startswith(str(path)) else f"{path}: {problem}"


async def _cancel(tasks: "Iterable[asyncio.Task[Any]]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
