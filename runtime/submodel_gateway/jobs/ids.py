"""Job ids: UUIDv7 with the suffix that clients of the hosted platforms expect.

The instant and the random bits are arguments: ids are made at the edge before the job is stored, so that a submit whose
outcome is unknown can be repeated under the same id.
"""

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
