"""`spec.gpu`, `spec.networkVolume` and `spec.placement`: which nodes may run a worker, and what it finds there."""

from typing import Annotated

from pydantic import Field

from submodel_operator.api.base import Model, ObjectName

_GpuType = Annotated[str, Field(min_length=1, max_length=63)]


class Gpu(Model):
    """GPUs of one worker."""

    count: Annotated[int, Field(ge=0, le=16)] = 0
    """GPUs per worker. 0 is a worker without one."""

    types: Annotated[list[_GpuType], Field(max_length=32)] = []
    """GPU types that will do, the preferred one first; empty takes any. A name of the installation's list
    (chart value nodes.gpuTypes), or else the value of the node label nvidia.com/gpu.product."""

    excluded_types: Annotated[list[_GpuType], Field(max_length=32)] = []
    """GPU types that will not do."""

    allowed_cuda_versions: Annotated[
        list[Annotated[str, Field(pattern=r"^[0-9]+\.[0-9]+$", max_length=16)]], Field(max_length=32)
    ] = []
    """CUDA versions that will do, such as 12.4. Needs a node label that tells them (chart value nodes.cudaLabel);
    without one, a warning says that any version is taken."""

    resource_name: Annotated[str, Field(pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$", max_length=253)] = "nvidia.com/gpu"
    """Extended resource that stands for a GPU: amd.com/gpu, or nvidia.com/mig-1g.5gb for a slice of one."""


class NetworkVolume(Model):
    """A volume that all workers of the endpoint share."""

    claim_name: ObjectName
    """PersistentVolumeClaim in the endpoint's namespace. Several workers need one that several nodes may mount."""

    mount_path: Annotated[str, Field(pattern=r"^/[^:]+$", max_length=512)] | None = None
    """Where the worker finds it. Unset mounts it where the hosted platforms do, at /runpod-volume, /submodel-volume and
    /workspace."""

    read_only: bool = False
    """Whether the workers only read from it."""


class Placement(Model):
    """Where workers may run."""

    data_centers: Annotated[list[Annotated[str, Field(min_length=1, max_length=63)]], Field(max_length=32)] = []
    """Data centers that will do: values of the node label topology.kubernetes.io/region, or of the label that the
    installation names instead. Empty takes any."""
