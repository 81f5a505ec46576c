"""A real SLURM of two nodes on this machine, in directories of its own; needs root and Debian's packages.

The partition that jobs go to by default has the first node alone, `pair` has both.

    python tests/slurm/cluster.py      starts it, says how to reach it, and stops it at the end of its input

The commands of SLURM find it through `SLURM_CONF`. Nothing outside the folder is written, and no daemon outlives it.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")
NEEDED = ("slurmctld", "slurmd", "sbatch", "munged")
NODES = ("one", "two")
PATH = "/usr/sbin:/sbin"  # daemons are not on everybody's

# Without cgroups: process groups are signalled, and nobody is bound to a core. `sacct` has no database and says so.
CONFIGURATION = """\
ClusterName=pdebench
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
JobRequeue=1
KillWait=30
InactiveLimit=0
NodeName=one NodeHostname={host} NodeAddr=127.0.0.1 Port={one} CPUs={cores} RealMemory={memory} State=UNKNOWN
NodeName=two NodeHostname={host} NodeAddr=127.0.0.1 Port={two} CPUs={cores} RealMemory={memory} State=UNKNOWN
PartitionName=main Nodes=one Default=YES MaxTime=INFINITE State=UP
PartitionName=pair Nodes=one,two MaxTime=INFINITE State=UP
"""


def missing() -> list[str]:
    """The programs that are not here."""
    return [name for name in NEEDED if shutil.which(name, path=f"{os.environ['PATH']}:{PATH}") is None]


@contextmanager
def cluster(cores: int = 2) -> Iterator[dict[str, str]]:
    """A running SLURM; gives the environment variables with which its commands, and pdebench, find it."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    folder.chmod(0o755)  # of the socket's folder munge asks that others may pass
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:{PATH}", "SLURM_CONF": str(folder / "slurm.conf")}
    daemons: list[subprocess.Popen[bytes]] = []

    def start(*command: str) -> None:
        log = (folder / f"{command[0]}{len(daemons)}.out").open("wb")
        daemons.append(subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    try:
        _configure(folder, cores)
        files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        start("munged", "--foreground", *(f"--{option}={folder}/munge.{end}" for option, end in files.items()))
        _until(lambda: (folder / "munge.socket").exists(), "munged", folder)
        start("slurmctld", "-D")
        for name in NODES:
            start("slurmd", "-D", "-N", name)
        _until(lambda: _sinfo(environment).split() == ["idle"] * len(NODES), "slurmctld and slurmd", folder)
        yield {"SLURM_CONF": environment["SLURM_CONF"], "PATH": environment["PATH"]}
    finally:
        if len(daemons) == 2 + len(NODES):
            subprocess.run(["scancel", "--quiet", "--user=root"], env=environment)
            subprocess.run(["scancel", "--quiet", "--full", "--signal=KILL", "--user=root"], env=environment)
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in daemons:
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _configure(folder: Path, cores: int) -> None:
    (folder / "state").mkdir()
    for name in NODES:
        (folder / f"spool-{name}").mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    controller, one, two = _free_ports(3)
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    (folder / "slurm.conf").write_text(
        CONFIGURATION.format(
            folder=folder, host=socket.gethostname().partition(".")[0], controller=controller, one=one, two=two,
            cores=cores, memory=int(pages * size / 2**20 * 0.8),
        )
    )  # fmt: skip


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _sinfo(environment: dict[str, str]) -> str:
    found = subprocess.run(
        ["sinfo", "--noheader", "--Node", "--partition=pair", "--format=%t"],
        env=environment,
        capture_output=True,
        text=True,
    )
    return found.stdout


def _until(ready: object, what: str, folder: Path, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not ready():  # type: ignore[operator]
        if time.monotonic() > deadline:
            logs = "\n".join(
                f"{log.name}: {log.read_text()[-1000:]}" for log in [*folder.glob("*.out"), *folder.glob("*.log")]
            )
            raise RuntimeError(f"{what} did not start in {seconds:g} s\n{logs}")
        time.sleep(0.2)


def main(arguments: Sequence[str]) -> int:
    """Start a cluster and keep it until standard input ends."""
    if lacking := missing():
        print(f"not here: {', '.join(lacking)}; as root: apt-get install {' '.join(PACKAGES)}", file=sys.stderr)
        return 2
    with cluster() as environment:
        print(f"export SLURM_CONF={environment['SLURM_CONF']}", flush=True)
        sys.stdin.read()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
