"""`make bench-store`: what the job store costs beside the engine that it is built on. Never a test.

python -m tests.bench.store [--engine sqlite] [--only throughput] [--quick] [--rounds 3]
"""

import sys

from tests.bench.beside import large, sweep
from tests.bench.command import Command
from tests.bench.scale import scale
from tests.bench.through import memory
from tests.bench.throughput import throughput

COMMAND = Command(
    name="tests.bench.store",
    measures="the job store",
    title="{engine}, payloads of 1 KB, medians of {rounds}",
    parts={"throughput": throughput, "scale": scale, "sweep": sweep, "large": large, "memory": memory},
)

if __name__ == "__main__":
    COMMAND.run(sys.argv[1:])
