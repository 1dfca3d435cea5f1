"""The job state machine: pure, so that every store engine makes the same decisions.

`transition(job, event, now)` is the only code that changes a job. No clock, no randomness and no storage are reached
from here; instants are integer milliseconds of the store's clock, and nonces come in with the events.
"""
