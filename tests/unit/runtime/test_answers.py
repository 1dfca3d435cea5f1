"""Answers of the gateway, read by several threads at once."""

import subprocess
import sys

TWO_READERS = """
import sys, threading
from submodel.contract.exchange import LeasedJob
from submodel.serverless.exchange import read_answer

def read():
    text = b'{"leaseMs": 9, "jobs": [{"id": "a", "token": "1", "input": 1, "policy": {}, "extra": {}}]}'
    print(read_answer(text).jobs[0].id)

def meddle(frame, event, argument):
    if event == "call" and frame.f_locals.get("obj") is LeasedJob:
        sys.setprofile(None)
        other = threading.Thread(target=read)
        other.start()
        other.join()

sys.setprofile(meddle)
read()
sys.setprofile(None)
read()
"""
"""The model of a job is met in the middle of learning that of an answer: there, another thread reads its own answer."""


def test_the_first_two_answers_may_be_read_at_the_same_time() -> None:
    done = subprocess.run([sys.executable, "-c", TWO_READERS], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "a\na\n", "")
