"""`make bench-gateway`: the gateway with real workers beside a bare server under the same load. Never a test.

python -m tests.bench.gateway [--engine sqlite] [--only runsync] [--quick] [--rounds 3]
"""

import sys

from tests.bench.command import Command
from tests.bench.gateway_beside import idle, large, slow, streams
from tests.bench.gateway_rates import runsync, submit

COMMAND = Command(
    name="tests.bench.gateway",
    measures="the gateway",
    title="Gateway on {engine}, medians of {rounds}; beside it a bare server",
    parts={"runsync": runsync, "submit": submit, "idle": idle, "streams": streams, "large": large, "slow": slow},
)

if __name__ == "__main__":
    COMMAND.run(sys.argv[1:])
