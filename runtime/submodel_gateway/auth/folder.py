"""Keys from a folder, one JSON document per file, as Kubernetes mounts a Secret; changes count within seconds."""

import logging
from pathlib import Path

import msgspec

from submodel_gateway.auth.keys import ApiKey, Keyring
from submodel_gateway.errors import ConfigurationError
from submodel_gateway.settings import KEYS

CHECK_MS = 2_000
"""How long a change may go unnoticed."""

_DOCUMENT = msgspec.json.Decoder(ApiKey)

log = logging.getLogger(__name__)


def unreadable(folder: Path, error: Exception) -> ConfigurationError:
    """For a folder that is not there, or that holds something else than keys."""
    remedy = f"{KEYS} must name one that holds documents of keys alone"
    return ConfigurationError(f"the folder of API keys, {folder}, cannot be read: {error}; {remedy}")


class KeyFolder:
    """Raises `ConfigurationError` when the folder, or a document in it, cannot be read at the start.

    Later on such a document is left out and logged: it must not keep others from being revoked.
    """

    def __init__(self, path: Path, pepper: str) -> None:
        self._path = path
        self._pepper = pepper
        self._seen: dict[str, tuple[int, int]] = {}
        self._checked_at = 0
        self._keyring = self._read(strict=True)

    def keyring(self, now_ms: int) -> Keyring:
        """The keys as of a moment ago."""
        if now_ms - self._checked_at >= CHECK_MS:
            self._checked_at = now_ms
            if self._files() != self._seen:
                self._keyring = self._read(strict=False)
        return self._keyring

    def _read(self, *, strict: bool) -> Keyring:
        self._seen = self._files(strict=strict)
        keys: list[ApiKey] = []
        for name in self._seen:
            try:
                keys.append(_DOCUMENT.decode((self._path / name).read_bytes()))
            except (OSError, msgspec.MsgspecError) as error:
                sentence = f"the key in {self._path / name} cannot be used: {error}"
                if strict:
                    raise ConfigurationError(sentence) from error
                log.error("%s", sentence)
        return Keyring(self._pepper, keys)

    def _files(self, *, strict: bool = False) -> dict[str, tuple[int, int]]:
        """Names, with what changes when their content does."""
        try:
            files = [file for file in self._path.iterdir() if not file.name.startswith(".") and file.is_file()]
            stats = {file.name: file.stat() for file in sorted(files)}
        except OSError as error:
            if strict:
                raise unreadable(self._path, error) from error
            log.error("the folder of API keys cannot be read, those known before stay in force: %s", error)
            return self._seen
        return {name: (stat.st_mtime_ns, stat.st_ino) for name, stat in stats.items()}
