"""How long calls may take, in seconds."""

from submodel.client.calls import Call

OPERATION_SECONDS = 3.0
"""`cancel`, `health` and `purge_queue`, all tries together."""

REQUEST_SECONDS = 60.0
"""Every other call, all tries together: a gateway may restart in the meantime."""

RUN_SYNC_SECONDS = 86_400.0
TRY_SECONDS = 30.0
"""What one try may take beyond the time that it asks to be held."""

MARGIN_SECONDS = 5.0
"""What an answer may be late."""


SLOWEST_BYTES_PER_SECOND = 100_000
"""A line that sends a request more slowly than this is as good as cut."""


def request_seconds(call: Call) -> float:
    """What a call may take when its caller named no time."""
    return REQUEST_SECONDS + call.hold_seconds + _sending_seconds(call)


def allowed_seconds(call: Call, left_seconds: float) -> float:
    """What a call may take when the caller has `left_seconds`: an answer that is due then is still read."""
    return min(max(0.0, left_seconds) + MARGIN_SECONDS, request_seconds(call))


def try_seconds(call: Call, left_seconds: float) -> float:
    """What one try may take of the `left_seconds` that its call has; never so little that it must fail."""
    return max(0.1, min(left_seconds, call.hold_seconds + TRY_SECONDS + _sending_seconds(call)))


def _sending_seconds(call: Call) -> float:
    return len(call.body or b"") / SLOWEST_BYTES_PER_SECOND
