"""What all parts of the resource have in common: closed models with camelCase names, quantities, instants."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic.alias_generators import to_camel

_QUANTITY = (
    r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))"
    r"(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$"
)


def _quantity(value: object, check: ValidatorFunctionWrapHandler) -> int | str:
    try:
        quantity: int | str = check(value)
    except ValidationError:
        raise ValueError('must be a quantity such as 1, "0.5", 500m or 2Gi') from None
    return quantity


Quantity = Annotated[int | Annotated[str, Field(pattern=_QUANTITY, max_length=64)], WrapValidator(_quantity)]
"""A Kubernetes quantity: a whole number or text, for example 1, 500m or 2Gi."""


ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")]
"""Name of another object in the endpoint's namespace. It becomes a part of a path that the operator reads with its own
rights, so nothing that leads elsewhere is one."""


def _idle_timeout(value: object, check: ValidatorFunctionWrapHandler) -> int | str:
    try:
        seconds: int | str = check(value)
    except ValidationError:
        raise ValueError("must be a whole number of seconds, or auto") from None
    return seconds


IdleTimeout = Annotated[int | Annotated[str, Field(pattern=r"^auto$", max_length=4)], WrapValidator(_idle_timeout)]
"""Whole seconds, or `auto`. A union has no numeric bounds in a structural schema: a rule of the spec holds them."""

FreeForm = Annotated[dict[str, Any], Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})]
"""Fields that are Kubernetes' own and are checked where they are used."""

Int64 = Annotated[int, Field(json_schema_extra={"format": "int64"})]
Instant = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class Model(BaseModel):
    """Base of all parts of the resource: camelCase, closed, immutable, and no value is converted to another type."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        extra="forbid",
        frozen=True,
        strict=True,
        use_attribute_docstrings=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_not_given(cls, value: object) -> object:
        """The API server drops nulls before it applies defaults; a manifest means the same without one."""
        if not isinstance(value, Mapping) or None not in value.values():
            return value
        known = {to_camel(name) for name in cls.model_fields}
        return {key: item for key, item in value.items() if item is not None or key not in known}


class StatusModel(Model):
    """Base of the parts of the status: fields of a newer operator are ignored."""

    model_config = ConfigDict(extra="ignore")
