"""`run-batch`: several jobs in one request, each accepted or refused by itself, as requests of `run` would be."""

import asyncio
from functools import partial

from submodel_gateway.errors import GatewayError, InvalidRequest
from submodel_gateway.http import answers, envelope
from submodel_gateway.http.messages import Request
from submodel_gateway.http.operations import RUN_BATCH
from submodel_gateway.service.admission import Admission
from submodel_gateway.service.clients import Clients, NewJob, Submitted


class Batches:
    """Serves it. The first request of a batch was counted when the batch was let in."""

    def __init__(self, clients: Clients, admission: Admission) -> None:
        self._clients = clients
        self._admission = admission

    async def serve(self, request: Request, endpoint: str) -> bytes:
        """Submit a batch. Raises `InvalidRequest` when it cannot be read as one; nothing is stored then."""
        if request.header(b"idempotency-key"):
            raise InvalidRequest('a batch has no Idempotency-Key; give each of its requests an "idempotencyKey"')
        body = await request.body(RUN_BATCH.body_bytes)
        wanted = await envelope.beside(body, partial(envelope.batch, principal=request.principal))
        submits = (self._submit(request, endpoint, number, new) for number, new in enumerate(wanted))
        # Together: they share transactions, and are queued in their order.
        return answers.batch_answer(await asyncio.gather(*submits))

    async def _submit(
        self, request: Request, endpoint: str, number: int, new: NewJob | InvalidRequest
    ) -> Submitted | GatewayError:
        try:
            if number and request.admitted is not None:
                self._admission.count(request.admitted)
            return new if isinstance(new, InvalidRequest) else await self._clients.submit(endpoint, new)
        except GatewayError as error:
            return error
