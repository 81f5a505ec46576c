"""SLURM's commands as one script under many names: tasks of an array run here, one after another.

Its state is files in the folder FAKE_SLURM: `1_0` holds PENDING or RUNNING, `1_0.pid` whom to signal, `1.sh` is the
script. `hold` there keeps the queue still, `broken` ends tasks before they begin.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

STATE = Path(os.environ["FAKE_SLURM"])
COMMANDS = ("sbatch", "srun", "squeue", "scontrol", "scancel", "sacct", "slurmd")


def install(folder: Path) -> Path:
    """Make the commands in `folder`, to be put on PATH."""
    folder.mkdir()
    for command in COMMANDS:
        (folder / command).write_text(f'#!/bin/sh\nexec {sys.executable} -S {__file__} {command} "$@"\n')
        (folder / command).chmod(0o755)
    return folder


def fail(text: str) -> None:
    print(text, file=sys.stderr)
    sys.exit(1)


def tasks() -> list[Path]:
    return sorted(path for path in STATE.iterdir() if re.fullmatch(r"\d+_\d+", path.name))


def ask_to_end(task: Path) -> None:
    pid = STATE / f"{task.name}.pid"
    if pid.exists():
        os.kill(int(pid.read_text()), signal.SIGTERM)


def sbatch(path: str) -> None:
    script = Path(path).read_text()
    if "--partition=nosuch" in script:
        fail("sbatch: error: invalid partition specified: nosuch\nsbatch: error: Batch job submission failed")
    found = re.search(r"--array=0-(\d+)%", script)
    assert found
    job = 1 + len(list(STATE.glob("*.sh")))
    (STATE / f"{job}.sh").write_text(script)
    for index in range(int(found[1]) + 1):
        (STATE / f"{job}_{index}").write_text("PENDING")
    if not (STATE / "hold").exists():
        subprocess.Popen(
            ["slurmd", str(job)], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    print(f"Submitted batch job {job}")


def slurmd(job: str) -> None:
    script = STATE / f"{job}.sh"
    output = re.search(r"--output=(\S+)", script.read_text())
    assert output
    while waiting := [task for task in tasks() if task.name.startswith(f"{job}_") and task.read_text() == "PENDING"]:
        task, index = waiting[0], waiting[0].name.partition("_")[2]
        if (STATE / "broken").exists():
            task.unlink()
            continue
        task.write_text("RUNNING")
        with Path(output[1].replace("%A", job).replace("%a", index)).open("a") as log:
            environment = {**os.environ, "SLURM_ARRAY_JOB_ID": job, "SLURM_ARRAY_TASK_ID": index}
            process = subprocess.Popen(["bash", str(script)], env=environment, stdout=log, stderr=log)
        (STATE / f"{task.name}.pid").write_text(str(process.pid))
        process.wait()
        (STATE / f"{task.name}.pid").unlink()
        again = STATE / f"{task.name}.requeued"
        if again.exists():
            again.unlink()
            task.write_text("PENDING")
        else:
            task.unlink()


def squeue(*options: str) -> None:
    jobs = next(option for option in options if option.startswith("--jobs=")).removeprefix("--jobs=").split(",")
    shown = [task for task in tasks() if task.name.partition("_")[0] in jobs]
    if not shown and len(jobs) == 1:
        fail("slurm_load_jobs error: Invalid job id specified")
    for task in shown:
        job, _, index = task.name.partition("_")
        state = task.read_text()
        print(f"{job}|{index}|{state}|pdebench-tiny|{'(Priority)' if state == 'PENDING' else 'node1'}")


def scontrol(*arguments: str) -> None:
    if arguments[0] == "requeue":
        (STATE / f"{arguments[1]}.requeued").touch()
        ask_to_end(STATE / arguments[1])
    else:
        word = "NODE_FAIL" if (STATE / "broken").exists() else "CANCELLED"
        print(f"JobId=1 JobState={word} Reason=None PreemptTime=None")


def scancel(*jobs: str) -> None:
    for task in tasks():
        if task.name.partition("_")[0] in jobs:
            if task.read_text() == "PENDING":
                task.unlink()
            ask_to_end(task)


def sacct(*options: str) -> None:
    fail("Slurm accounting storage is disabled")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
