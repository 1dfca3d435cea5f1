"""The decision log: everything a decision was made of, a line of JSON each, so that it can be made again elsewhere."""

import msgspec

from submodel_operator.resolve import ResolvedScaling
from submodel_operator.scaling.decide import decide
from submodel_operator.scaling.decision import ScalingDecision
from submodel_operator.scaling.signals import ScalingInputs
from submodel_operator.scaling.state import ScalerState


class Record(msgspec.Struct, frozen=True):
    """One decision with its arguments."""

    endpoint: str
    now: float
    inputs: ScalingInputs
    state: ScalerState
    """What was remembered before it."""

    decision: ScalingDecision


def encode_record(record: Record) -> bytes:
    """The record as a line."""
    return msgspec.json.encode(record) + b"\n"


def decode_record(line: bytes) -> Record:
    """The inverse of `encode_record`. Raises `ValueError` for a line of another kind, or of another version."""
    return msgspec.json.decode(line, type=Record)


def decided_again(record: Record, scaling: ResolvedScaling | None = None) -> ScalingDecision:
    """The decision of these arguments by the present code, and with `scaling` by other settings."""
    inputs = record.inputs if scaling is None else msgspec.structs.replace(record.inputs, scaling=scaling)
    return decide(inputs, record.state, record.now)[0]
