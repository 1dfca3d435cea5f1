"""`spec.worker`: what a worker runs. In the shapes of core/v1 wherever Kubernetes has a word for it."""

from typing import Annotated

from pydantic import AfterValidator, Field

from submodel_operator.api.base import FreeForm, Model, ObjectName, Quantity


class SourceRef(Model):
    """A key of a ConfigMap in the endpoint's namespace that holds Python source."""

    name: ObjectName
    """Name of the ConfigMap."""

    key: Annotated[str, Field(min_length=1, max_length=253)] = "handler.py"
    """Key within the ConfigMap."""


class Handler(Model):
    """Source code that runs on the bundled runtime image: exactly one of inline and configMapRef."""

    inline: Annotated[str, Field(min_length=1, max_length=262_144)] | None = None
    """Python source that calls submodel.serverless.start(). A change is a new revision."""

    config_map_ref: SourceRef | None = None
    """Takes the source from a ConfigMap instead. A change of it is a new revision within a minute."""


class KeyRef(Model):
    """A key of a Secret or ConfigMap in the endpoint's namespace."""

    name: ObjectName
    """Name of the object."""

    key: Annotated[str, Field(min_length=1, max_length=253)]
    """Key within the object."""

    optional: bool = False
    """Whether the worker may start without it."""


class EnvVarSource(Model):
    """Where the value of an environment variable comes from."""

    secret_key_ref: KeyRef | None = None
    """A key of a Secret."""

    config_map_key_ref: KeyRef | None = None
    """A key of a ConfigMap."""

    @property
    def names_one_key(self) -> bool:
        """Whether it says where the value comes from, and says it once."""
        return (self.secret_key_ref is None) != (self.config_map_key_ref is None)


class EnvVar(Model):
    """One environment variable of the worker, in the shape of core/v1."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=253)]
    """Name of the variable. Names the platform sets itself (SUBMODEL_GATEWAY_URL, …) cannot be overridden."""

    value: Annotated[str, Field(max_length=32_768)] | None = None
    """The value, as text."""

    value_from: EnvVarSource | None = None
    """Takes the value from a Secret or ConfigMap instead."""


def _distinct_names(env: list[EnvVar]) -> list[EnvVar]:
    names = [variable.name for variable in env]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"repeats {', '.join(repeated)}; keep one entry for each name")
    return env


class NamedSource(Model):
    """A Secret or ConfigMap in the endpoint's namespace, with all its keys."""

    name: ObjectName
    """Name of the object."""

    optional: bool = False
    """Whether the worker may start without it."""


class EnvFromSource(Model):
    """Where a set of environment variables comes from, in the shape of core/v1."""

    prefix: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=253)] | None = None
    """Put before the name of each variable."""

    secret_ref: NamedSource | None = None
    """A Secret whose keys become variables."""

    config_map_ref: NamedSource | None = None
    """A ConfigMap whose keys become variables."""

    @property
    def names_one_source(self) -> bool:
        """Whether it says where the variables come from, and says it once."""
        return (self.secret_ref is None) != (self.config_map_ref is None)


class PullSecret(Model):
    """A Secret with credentials of an image registry."""

    name: ObjectName
    """Name of the Secret."""


class Resources(Model):
    """Compute resources of one worker, in the shape of core/v1."""

    requests: Annotated[dict[str, Quantity], Field(max_length=32)] = {}
    """What the scheduler reserves, by resource name."""

    limits: Annotated[dict[str, Quantity], Field(max_length=32)] = {}
    """What the worker may use at most, by resource name."""


class PodMetadata(Model):
    """Labels and annotations of the workers' pods."""

    labels: Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=64)] = {}
    """Labels of the pods. Those of the platform cannot be changed."""

    annotations: Annotated[dict[str, Annotated[str, Field(max_length=32_768)]], Field(max_length=64)] = {}
    """Annotations of the pods."""


class PodTemplate(Model):
    """What the fields above have no word for, merged into the pods last."""

    metadata: PodMetadata = PodMetadata()
    """Labels and annotations of the pods."""

    spec: FreeForm = {}
    """Part of a pod's spec, as in a Deployment. Lists are merged by name; the container of the worker is called worker.
    Fields that belong to the platform, and access to the node, are refused."""


class Worker(Model):
    """What a worker runs: exactly one of image and handler."""

    image: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    """Container image of the worker, built on the submodel runtime or made for RunPod or SubModel. Exactly one of image
    and handler is set."""

    handler: Handler | None = None
    """Handler source for the bundled runtime image. Exactly one of image and handler is set."""

    env: Annotated[
        list[EnvVar],
        Field(max_length=256, json_schema_extra={"x-kubernetes-list-map-keys": ["name"]}),
        AfterValidator(_distinct_names),
    ] = []
    """Environment variables of the worker."""

    env_from: Annotated[list[EnvFromSource], Field(max_length=64)] = []
    """Secrets and ConfigMaps whose keys become environment variables; a name in env wins."""

    command: Annotated[list[Annotated[str, Field(max_length=32_768)]], Field(max_length=256)] = []
    """Replaces the entry point of the image. Only with image."""

    args: Annotated[list[Annotated[str, Field(max_length=32_768)]], Field(max_length=256)] = []
    """Replaces the arguments of the image. Only with image."""

    image_pull_secrets: Annotated[list[PullSecret], Field(max_length=32)] = []
    """Secrets with credentials for the registry of the image."""

    service_account_name: ObjectName | None = None
    """ServiceAccount of the workers' pods, for the cloud's workload identity; its token is not mounted."""

    resources: Resources = Resources()
    """Compute resources of one worker."""

    pod_template: PodTemplate = PodTemplate()
    """What the fields above have no word for, merged into the workers' pods last."""

    concurrency: Annotated[int, Field(ge=1, le=1000)] = 1
    """Jobs that one worker runs at once; above 1 only async handlers gain."""

    startup_deadline_seconds: Annotated[int, Field(ge=10, le=86_400)] = 600
    """Seconds from the start of a worker's container within which it must ask for its first job. One that does not is
    reported as failed and replaced. Raise it for models that load for long."""
