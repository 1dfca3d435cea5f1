"""`python -m submodel_gateway` before it serves anything."""

import subprocess
import sys

LISTEN = {"SUBMODEL_GATEWAY_LISTEN": "127.0.0.1:0", "SUBMODEL_GATEWAY_INTERNAL_LISTEN": "127.0.0.1:0"}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=30, env=LISTEN)


def test_help_says_what_it_is() -> None:
    done = run("-m", "submodel_gateway", "--help")
    assert done.returncode == 0
    assert "The gateway of SubModel" in done.stdout


def test_without_its_extra_one_sentence_says_what_to_install() -> None:
    for missing in ("httptools", "uvloop"):
        program = f"import runpy, sys; sys.modules['{missing}'] = None; sys.argv[1:] = []; "
        done = run("-c", program + "runpy.run_module('submodel_gateway', run_name='__main__')")
        assert done.returncode == 2
        assert "install submodel-runtime[gateway]" in done.stderr
        assert done.stderr.count("\n") == 1
