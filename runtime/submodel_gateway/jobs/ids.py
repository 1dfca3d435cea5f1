"""Job ids: UUIDv7 with the suffix that clients of the hosted platforms expect.

The instant and the random bits are arguments: ids are made at the edge before the job is stored, so that a submit whose
outcome is unknown can be repeated under the same id.
"""

import re

from submodel.contract import limits

SYNC_PREFIX = "sync-"
_SUFFIX = "-u1"


def job_id(now_ms: int, random_bits: int, *, sync: bool = False) -> str:
    """An id whose order is the order of submission.

    Args:
        now_ms: milliseconds since 1970; the low 48 bits are used.
        random_bits: at least 74 random bits.
        sync: whether the job came by `/runsync`.
    """
    value = (now_ms & ((1 << 48) - 1)) << 80
    value |= 0x7 << 76
    value |= ((random_bits >> 62) & 0xFFF) << 64
    value |= 0b10 << 62
    value |= random_bits & ((1 << 62) - 1)
    text = f"{value:032x}"
    uuid = f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
    return f"{SYNC_PREFIX if sync else ''}{uuid}{_SUFFIX}"


def is_sync(job: str) -> bool:
    """Whether the id belongs to a job of `/runsync`, which has larger bodies and a shorter retention."""
    return job.startswith(SYNC_PREFIX)


def payload_limit(job: str) -> int:
    """Bytes that the input or the output of a job may have."""
    return limits.RUNSYNC_BODY_BYTES if is_sync(job) else limits.RUN_BODY_BYTES


_ATTEMPT = re.compile(r"(.+)-a([1-9][0-9]{0,8})")


def delivery_id(job: str, attempt: int) -> str:
    """The id under which a worker that gets no lease token receives a job: later attempts carry their number.

    Such a worker names the job in its requests by this id alone, so the attempt in it is the fence against a result
    that comes too late.
    """
    return job if attempt == 1 else f"{job}-a{attempt}"


def from_delivery_id(text: str) -> tuple[str, int]:
    """The job's id and the attempt of a `delivery_id`."""
    match = _ATTEMPT.fullmatch(text)
    return (match[1], int(match[2])) if match and match[2] != "1" else (text, 1)
