"""The test cluster's script, as far as it can be looked at without a cluster."""

import os
import subprocess
from pathlib import Path

CLUSTER = Path(__file__).parents[1] / "cluster/bed/lib/cluster.sh"


def test_the_cluster_holds_nothing_open_that_its_caller_did(tmp_path: Path) -> None:
    """A lock under which it was started would last as long as the cluster."""
    lock = os.open(tmp_path / "lock", os.O_CREAT | os.O_RDWR)
    script = f'source "{CLUSTER}"; exec 9>"{tmp_path}/own"; (close_descriptors; exec ls -l /proc/self/fd)'
    ran = subprocess.run(["bash", "-c", script], pass_fds=[lock], capture_output=True, text=True, check=True)
    os.close(lock)
    assert str(tmp_path) not in ran.stdout
    assert "2 -> pipe" in ran.stdout
