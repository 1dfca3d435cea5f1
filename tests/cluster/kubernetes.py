"""kubectl and helm as the tests use them: the same commands a user types, with their words kept for failures."""

import json
import os
import re
import subprocess
from dataclasses import dataclass
from typing import Any

SAFE_CONTEXTS = re.compile(r"^(kind|k3d|kwok)-|^minikube$|^submodel-bed$")
WAIT_SECONDS = 120


@dataclass(frozen=True)
class Ran:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str


def run(*command: str, stdin: str | None = None, check: bool = True, timeout: float = 180) -> Ran:
    """Run a command; with `check`, a failure raises with its own words."""
    ended = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout, check=False)
    if check and ended.returncode:
        raise AssertionError(f"{' '.join(command)} failed ({ended.returncode}):\n{ended.stdout}{ended.stderr}")
    return Ran(ended.returncode, ended.stdout, ended.stderr)


def kubectl(*arguments: str, stdin: str | None = None, check: bool = True) -> Ran:
    """`kubectl ARGUMENTS`."""
    return run("kubectl", *arguments, stdin=stdin, check=check)


def get(*arguments: str) -> Any:
    """`kubectl get ARGUMENTS -o json`, parsed."""
    return json.loads(kubectl("get", *arguments, "-o", "json").out)


def wait(what: str, condition: str, namespace: str, seconds: int = WAIT_SECONDS) -> None:
    """`kubectl wait --for=CONDITION WHAT`: a watch, not a poll."""
    kubectl("wait", what, f"--for={condition}", "-n", namespace, f"--timeout={seconds}s")


def wait_for_path(what: str, path: str, value: str, namespace: str, seconds: int = WAIT_SECONDS) -> None:
    """Wait until the JSON path of an object has `value`."""
    wait(what, f"jsonpath={{{path}}}={value}", namespace, seconds)


def refuse_unknown_context() -> str | None:
    """Why the tests do not run on the present context, or None. They create and delete namespaces and a CRD."""
    context = kubectl("config", "current-context", check=False)
    if context.code:
        return "kubectl has no current context"
    if SAFE_CONTEXTS.match(context.out.strip()) or os.environ.get("SUBMODEL_I_KNOW") == "1":  # a person's switch
        return None
    return f"the context {context.out.strip()!r} is not a throw-away cluster; SUBMODEL_I_KNOW=1 runs them all the same"
