"""A SLURM of two nodes on this machine: real munged, slurmctld and slurmd, in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

SBIN = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
DAEMONS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol")
NODES = ("node0", "node1")
HOSTS = "127.0.0.1 localhost node0 node1\n"
NODE = 'hostname "$1" && mount --bind "$2" /etc/hosts && exec slurmd -D -N "$1"'
"""A machine of its own: slurmd takes no name twice, and torchrun looks the first node up."""
CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
KillWait=10
SlurmdParameters=config_overrides
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
GresTypes=gpu
NodeName=DEFAULT CPUs=32 RealMemory=1000 Gres=gpu:1
NodeName=node0 NodeAddr=127.0.0.1 Port={ports[1]}
NodeName=node1 NodeAddr=127.0.0.1 Port={ports[2]}
PartitionName=main Nodes=ALL Default=YES State=UP
"""
FINAL = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "BOOT_FAIL", "PREEMPTED")


def why_not() -> str:
    """Why no cluster can be had here; empty if it can."""
    missing = [name for name in DAEMONS if shutil.which(name, path=SBIN) is None]
    if missing:
        return f"no {', '.join(missing)}: apt-get install slurmctld slurmd slurm-client munge"
    alone = ("unshare", "--uts", "--mount", "true")
    if os.getuid() or subprocess.run(alone, capture_output=True, check=False).returncode:
        return "a node with a name of its own needs root and namespaces"
    return ""


class Cluster:
    """A cluster of two nodes with a GPU each, which is none.

    Args:
        folder: For its files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf"), "PATH": SBIN}
        (folder / "state").mkdir()
        values = {"folder": folder, "host": socket.gethostname(), "user": "root"}
        text = CONFIGURATION.format(ports=_free_ports(3), **values)
        (folder / "slurm.conf").write_text(text)
        (folder / "hosts").write_text(HOSTS)
        (folder / "gres.conf").write_text("Name=gpu File=/dev/null\n")

    def start(self) -> None:
        """Start the daemons, and wait until both nodes are idle."""
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        files = {"key-file": key, "socket": self.folder / "munge.socket"}
        files |= {name: self.folder / f"munge.{name[:-5]}" for name in ("pid-file", "seed-file")}
        files["log-file"] = self.folder / "munge.log"
        flags = [f"--{name}={path}" for name, path in files.items()]
        self._start("munged", "--foreground", "--force", *flags)
        wait_for(lambda: (self.folder / "munge.socket").exists(), "munged")
        self._start("slurmctld", "-D")
        for node in NODES:
            arguments = ("sh", "-c", NODE, "sh", node, str(self.folder / "hosts"))
            self._start("unshare", "--uts", "--mount", *arguments)
        wait_for(lambda: self.call("sinfo", "-h", "-o", "%T %D").split() == ["idle", "2"], "slurmd")

    def _start(self, *command: str) -> None:
        log = open(self.folder / f"{command[0]}.out", "ab")  # noqa: SIM115 (the daemon has it)
        program = shutil.which(command[0], path=SBIN)
        assert program is not None
        process = subprocess.Popen(
            [program, *command[1:]], env=self.environment, stdout=log, stderr=log
        )
        self._processes.append(process)

    def stop(self) -> None:
        """End all jobs and daemons."""
        self.call("scancel", "--user=root")
        for process in self._processes[::-1]:
            process.send_signal(signal.SIGTERM)
        for process in self._processes[::-1]:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=10)
            process.kill()

    def call(self, *command: str, cwd: Path | None = None) -> str:
        """What a command of SLURM prints."""
        done = subprocess.run(
            command, env=self.environment, cwd=cwd, capture_output=True, text=True, timeout=60
        )
        return done.stdout.strip()

    def submit(self, *arguments: str, cwd: Path) -> str:
        """Submit a job, and return its number."""
        line = ("sbatch", "--parsable", "--cpus-per-task=1", "--gpus-per-node=1", *arguments)
        job = self.call(*line, cwd=cwd)
        assert job.isdigit(), f"not submitted: {line}"
        return job

    def show(self, job: str) -> dict[str, str]:
        """What SLURM knows of a job."""
        words = self.call("scontrol", "show", "job", job).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def finish(self, job: str, cwd: Path, seconds: int = 900) -> tuple[int, str]:
        """Wait for the end of a job, and return its exit code and what it printed."""
        wait_for(lambda: self.show(job).get("JobState") in FINAL, f"job {job}", seconds)
        code = int(self.show(job)["ExitCode"].split(":")[0])
        return code, (cwd / f"slurm-{job}.out").read_text()

    def run(self, *arguments: str, cwd: Path, seconds: int = 900) -> tuple[int, str]:
        """Submit a job, wait for its end, and return its exit code and what it printed."""
        return self.finish(self.submit(*arguments, cwd=cwd), cwd, seconds)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def wait_for(is_done, what: str, seconds: int = 60) -> None:
    end = time.monotonic() + seconds
    while not is_done():
        assert time.monotonic() < end, f"no answer in {seconds} s: {what}"
        time.sleep(0.3)


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """A cluster for the time of a block."""
    cluster = Cluster(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
