"""The quickstart as a script: start local mode, send one job, read its chunks as they come, wait for zero workers.

Run it with `make demo`, or with any Python in which `submodel-operator[local]` is installed. It needs nothing else.
"""

import json
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from queue import Queue
from typing import Any

MANIFEST = Path(__file__).with_name("endpoint.yaml")
SUBMODEL = Path(sys.executable).with_name("submodel")
LIMIT_SECONDS = 60


def main() -> int:
    """Run the demonstration; the exit code says whether all of it happened."""
    with tempfile.TemporaryDirectory() as folder:
        command = [SUBMODEL, "up", "-f", MANIFEST, "--port", "0", "--data", folder]
        print("$ submodel up -f", MANIFEST)
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        watchdog = threading.Timer(LIMIT_SECONDS, server.kill)
        watchdog.start()
        try:
            return demonstrate(follow(server))
        finally:
            server.terminate()
            server.wait()
            watchdog.cancel()


def demonstrate(lines: "Queue[str]") -> int:
    """One job from zero workers and back to zero."""
    url = wait_for(lines, r"url\s+(http\S+)")
    job = call(f"{url}/run", {"input": {}})
    print(f"\n$ curl -s {url}/run -d '{{\"input\": {{}}}}'\n{json.dumps(job)}\n")
    chunks = stream(f"{url}/stream/{job['id']}")
    result = call(f"{url}/status/{job['id']}")
    print(f"\n$ curl -s {url}/status/{job['id']}\n{json.dumps(result, indent=2)}\n")
    wait_for(lines, r"workers \d+ → 0")
    wait_for(lines, r"worker \S+ left")
    succeeded = result["status"] == "COMPLETED" and result["output"] == chunks and len(chunks) == 5
    print("\nscaled 0 → 1 → 0; five chunks streamed and aggregated" if succeeded else "\nthe result is not as expected")
    return 0 if succeeded else 1


def stream(url: str) -> list[Any]:
    """Print the chunks of a job as they arrive and return them."""
    chunks: list[Any] = []
    started = time.monotonic()
    while True:
        answer = call(url)
        for chunk in answer["stream"]:
            chunks.append(chunk["output"])
            print(f"    +{time.monotonic() - started:4.1f} s  {chunk['output']}", flush=True)
        if answer["status"] not in ("IN_QUEUE", "IN_PROGRESS"):
            return chunks


def call(url: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """One request to the job API."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        answer: dict[str, Any] = json.load(response)
        return answer


def follow(server: "subprocess.Popen[str]") -> "Queue[str]":
    """Print what the server says and pass each line on."""
    lines: Queue[str] = Queue()

    def read() -> None:
        for line in server.stdout or ():
            print(line.rstrip(), flush=True)
            lines.put(line)
        lines.put("")

    threading.Thread(target=read, daemon=True).start()
    return lines


def wait_for(lines: "Queue[str]", pattern: str) -> str:
    """The first group (or all) of the first line that matches."""
    while line := lines.get(timeout=LIMIT_SECONDS):
        if found := re.search(pattern, line):
            return found[found.lastindex or 0]
    raise SystemExit(f"submodel up ended before it said {pattern!r}")


if __name__ == "__main__":
    sys.exit(main())
