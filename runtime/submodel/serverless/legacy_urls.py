"""The URLs of a hosted platform, as templates in a worker's environment. Pure; read by `settings`.

`$ID` means two things: in the URL for jobs it is the worker, in those of results and chunks it is the job. There the
worker is `$RUNPOD_POD_ID` or `$SUBMODEL_POD_ID`. The URLs for several jobs at once and for stops are that for one job
with another word in its path.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from submodel.contract import legacy_env
from submodel.contract.spelling import PREFIXES
from submodel.errors import ConfigurationError

PING_SECONDS_MIN = 1.0
_TAKE = "/job-take/"


@dataclass(frozen=True, slots=True)
class LegacyUrls:
    """Where such a worker asks and delivers; an empty text where the platform has no such place."""

    take: str
    done: str
    stream: str = ""
    ping: str = ""
    api_key: str = ""
    """Sent as it is with every request."""

    family: str = "submodel"
    """Which of the two platforms' spellings the environment has."""

    ping_seconds: float = legacy_env.PING_INTERVAL_MS / 1000

    @property
    def take_batch(self) -> str:
        return self._beside("/job-take-batch/")

    @property
    def stop(self) -> str:
        return self._beside("/job-stop/")

    def _beside(self, place: str) -> str:
        return self.take.replace(_TAKE, place) if _TAKE in self.take else ""


def of_job(template: str, job_id: str) -> str:
    """The URL of one job's results or chunks."""
    return template.replace("$ID", quote(job_id, safe=""))


def with_query(url: str, **query: str) -> str:
    """`url` with more parameters at the end of its query."""
    text = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
    return f"{url}{'&' if '?' in url else '?'}{text}"


def prefix(environ: Mapping[str, str]) -> str:
    """The spelling in which this environment names a hosted platform; empty when it names none."""
    return next((each for each in PREFIXES if environ.get(each + legacy_env.GET_JOB)), "")


def from_environment(environ: Mapping[str, str], worker_id: str) -> LegacyUrls:
    """Read the templates of an environment that has a `prefix`. Raises `ConfigurationError` with what to set."""
    spelled = prefix(environ)

    def url(name: str, *placeholders: str) -> str:
        template = environ.get(spelled + name, "")
        parts = urlsplit(template)
        if template and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ConfigurationError(f"{spelled}{name}={template!r} is not a URL like http://gateway:8000/v2/e/…")
        for placeholder in placeholders:
            template = template.replace(placeholder, quote(worker_id, safe=""))
        return template

    pod = [f"${each}{legacy_env.POD_ID}" for each in PREFIXES]
    done = url(legacy_env.POST_OUTPUT, *pod)
    if not done:
        raise ConfigurationError(
            f"{spelled}{legacy_env.GET_JOB} is set but {spelled}{legacy_env.POST_OUTPUT} is not: "
            "results would have nowhere to go"
        )
    return LegacyUrls(
        take=url(legacy_env.GET_JOB, *pod, "$ID"),
        done=done,
        stream=url(legacy_env.POST_STREAM, *pod),
        ping=url(legacy_env.PING, *pod),
        api_key=environ.get(spelled + legacy_env.API_KEY, ""),
        family=spelled.rstrip("_").lower(),
        ping_seconds=_ping_seconds(environ.get(spelled + legacy_env.PING_INTERVAL, "")),
    )


def _ping_seconds(milliseconds: str) -> float:
    if not (milliseconds.isascii() and milliseconds.isdigit()):
        return legacy_env.PING_INTERVAL_MS / 1000
    return max(PING_SECONDS_MIN, int(milliseconds) / 1000)
