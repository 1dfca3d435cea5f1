"""Whether there is an NVIDIA GPU, without torch."""

import subprocess

__all__ = ["is_available"]

ANSWER_SECONDS = 20.0


def is_available() -> bool:
    """Whether `nvidia-smi` runs and finds its driver."""
    try:
        ran = subprocess.run(["nvidia-smi"], capture_output=True, timeout=ANSWER_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return False
    return b"NVIDIA-SMI" in ran.stdout
