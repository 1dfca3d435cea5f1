"""Tells a URL how a job ended: once, ten seconds at most, whoever it is.

The platform repeats, signs and fences its webhooks; here they are for trying out a receiver.
"""

import threading
import urllib.error
import urllib.request

from submodel.contract import wire
from submodel.serverless.local.jobs import LocalJob
from submodel.serverless.log import about, logger

ANSWER_SECONDS = 10.0


def tell(job: LocalJob) -> None:
    """POST the job to its webhook, if it has one; does not wait for that."""
    if job.webhook is not None:
        body = wire.encode(job.status())
        threading.Thread(target=_post, args=(job.id, job.webhook, body), name="submodel-webhook").start()


def _post(job_id: str, url: str, body: bytes) -> None:
    headers = {"Content-Type": "application/json", "User-Agent": "submodel-runtime"}
    try:
        if not url.startswith(("http://", "https://")):
            raise ValueError("only http and https URLs are told")
        request = urllib.request.Request(url, body, headers, method="POST")
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
            logger.info("The webhook was told and answers %d.", answer.status, extra=about(job_id))
    except (OSError, ValueError) as error:
        logger.warning("The webhook was not told: %s.", error, extra=about(job_id))
