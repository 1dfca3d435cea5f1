"""Where a model of Hugging Face lies on a volume of cached models."""

from submodel.serverless.modules.rp_logger import RunPodLogger

__all__ = ["resolve_model_cache_path_from_hugginface_repository"]


def resolve_model_cache_path_from_hugginface_repository(
    huggingface_repository: str, /, path_template: str = "/runpod/cache/{model}/{revision}"
) -> str | None:
    """The path of `model` or `organisation/model`, with `:revision` or of `main`; None when it names no model.

    Args:
        path_template: holds `{model}` and `{revision}`.
    """
    model, _, revision = huggingface_repository.rpartition(":")
    if ":" not in huggingface_repository:
        model, revision = huggingface_repository, "main"
    if not model:
        RunPodLogger().warn(f"{huggingface_repository!r} names no model; write organisation/model:revision")
        return None
    return path_template.format(model=model, revision=revision)
