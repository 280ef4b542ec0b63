"""Debian's Slurm in one box: munged, slurmctld and slurmd on loopback, all in one folder."""

import os
import shutil
import socket
import subprocess
from pathlib import Path

from clusters import free_port, wait_for

PARTS = ("munged", "slurmctld", "slurmd", "sbatch", "scancel", "squeue")
CONF = """\
ClusterName=box
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
SchedulerParameters=sched_interval=1
KillWait=2
NodeName=box NodeHostname={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=65536 State=UNKNOWN
PartitionName=all Nodes=box Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
"""


def missing() -> str:
    """Why there can be no box here; empty if there can."""
    if os.getuid() != 0:
        return "Slurm in one box needs root"
    absent = [name for name in PARTS if shutil.which(name) is None]
    return f"apt-get install slurm-wlm munge: no {', '.join(absent)}" if absent else ""


class SlurmBox:
    """A cluster of one node, `cpus` of which Slurm believes in; `close` ends all its processes."""

    def __init__(self, folder: Path, cpus: int = 8) -> None:
        self.folder = folder
        self.parts: list[subprocess.Popen[bytes]] = []
        folder.mkdir(mode=0o755)
        (folder / "state").mkdir()
        (folder / "spool").mkdir()
        key = folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        ports = [free_port(), free_port()]
        facts = {"folder": folder, "controller": ports[0], "node": ports[1], "cpus": cpus}
        text = CONF.format(host=socket.gethostname().split(".")[0], **facts)
        (folder / "slurm.conf").write_text(text)
        self.env = {"SLURM_CONF": str(folder / "slurm.conf")}
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        at = self.folder
        self._run(
            "munged", "--foreground", "--force", f"--socket={at}/munge.socket",
            f"--key-file={at}/munge.key", f"--pid-file={at}/munged.pid",
            f"--log-file={at}/munged.log", f"--seed-file={at}/munged.seed",
        )  # fmt: skip
        wait_for(lambda: (at / "munge.socket").exists(), "munged")
        self._run("slurmctld", "-D", "-c")
        self._run("slurmd", "-D", "-N", "box")
        wait_for(lambda: "idle" in self.ask("sinfo", "--noheader", "-o", "%t"), "the node")

    def _run(self, *words: str) -> None:
        with (self.folder / f"{words[0]}.out").open("wb") as out:
            self.parts.append(
                subprocess.Popen(
                    words, env={**os.environ, **self.env}, stdin=subprocess.DEVNULL,
                    stdout=out, stderr=out,
                )
            )  # fmt: skip

    def ask(self, *words: str) -> str:
        """What a command of Slurm prints."""
        done = subprocess.run(
            words, env={**os.environ, **self.env}, capture_output=True, text=True, timeout=60
        )
        return done.stdout.strip()

    def jobs(self) -> dict[str, str]:
        """Names of the jobs that wait or run, by id."""
        lines = self.ask("squeue", "--noheader", "-o", "%i %j").splitlines()
        return dict(line.split(maxsplit=1) for line in lines)

    def close(self) -> None:
        if self.parts[2:]:
            for job in self.jobs():
                self.ask("scancel", "--signal=KILL", "--full", job)
                self.ask("scancel", job)
            wait_for(lambda: not self.jobs(), "the jobs' end")
        for part in reversed(self.parts):
            part.terminate()
            try:
                part.wait(timeout=20)
            except subprocess.TimeoutExpired:
                part.kill()
                part.wait()
