"""Slurm on this machine: one node of two cores, as root, without systemd.

    with SlurmNode(folder) as node: ...   # SLURM_CONF names its configuration

Partition `low` is the default; a job of `high` preempts its jobs, which are
queued again.
"""

import functools
import os
import pathlib
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "srun")
CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmdPort={other_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=15
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SwitchType=switch/none
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
ReturnToService=2
KillWait=2
SchedulerParameters=sched_interval=1,bf_interval=1
SlurmdParameters=config_overrides
MailProg=/bin/true
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=low Nodes=n1 Default=YES PriorityTier=1 State=UP
PartitionName=high Nodes=n1 PriorityTier=10 State=UP
"""


def missing():
    """Return why Slurm cannot be started here, or ""."""
    if os.geteuid():
        return "starting Slurm needs root"
    for name in PROGRAMS:
        if shutil.which(name) is None:
            return f"no {name}: apt-get install slurm-wlm munge"
    return ""


def _free_port():
    """Return a port that nothing listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class SlurmNode:
    """The three daemons, ended on leaving.

    Arguments
    ---------
    folder : str or pathlib.Path
        With a short path: it contains a socket.
    """

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.daemons = {}
        self.before = os.environ.get("SLURM_CONF")

    def __enter__(self):
        for name in ("state", "spool"):
            (self.folder / name).mkdir(parents=True)
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o600)
        text = CONFIGURATION.format(
            host=socket.gethostname(),
            folder=self.folder,
            port=_free_port(),
            other_port=_free_port(),
        )
        (self.folder / "slurm.conf").write_text(text)
        os.environ["SLURM_CONF"] = str(self.folder / "slurm.conf")
        try:
            for name in ("munged", "slurmctld", "slurmd"):
                self.start(name)
            self.wait_until_idle()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for name in ("slurmd", "slurmctld", "munged"):
            self.kill(name, signal.SIGTERM)
        os.environ.pop("SLURM_CONF")
        if self.before is not None:
            os.environ["SLURM_CONF"] = self.before

    def start(self, name):
        """Start a daemon."""
        own = {
            "munged": [
                "--foreground",
                "--force",
                f"--key-file={self.folder}/munge.key",
                f"--socket={self.folder}/munge.socket",
                f"--pid-file={self.folder}/munge.pid",
                f"--log-file={self.folder}/munge.log",
                f"--seed-file={self.folder}/munge.seed",
            ],
            "slurmctld": ["-D"],
            "slurmd": ["-D", "-N", "n1"],
        }
        with open(self.folder / f"{name}.log", "a") as log:
            self.daemons[name] = subprocess.Popen(
                [shutil.which(name), *own[name]], stdout=log, stderr=log
            )
        if name == "munged":
            wait_for(lambda: (self.folder / "munge.socket").exists(), 20)

    def kill(self, name, how=signal.SIGKILL):
        """End a daemon."""
        if name in self.daemons:
            self.daemons[name].send_signal(how)
            self.daemons.pop(name).wait()

    def restart(self, name):
        """Kill a daemon and start it again."""
        self.kill(name)
        self.start(name)
        return True

    def resume(self):
        """Do what an administrator does when Slurm has drained the node.

        It does so where a job that was queued again finds its own processes.
        """
        if "drain" in slurm("sinfo", "-h", "-o", "%T"):
            slurm("scontrol", "update", "nodename=n1", "state=resume")

    def wait_until_idle(self):
        """Wait until the node takes jobs."""
        wait_for(lambda: "idle" in slurm("sinfo", "-h", "-o", "%T"), 60)


@functools.cache
def cannot_start():
    """Return why the daemons do not start here, or ""."""
    with tempfile.TemporaryDirectory(prefix="slurm") as folder:
        try:
            with SlurmNode(pathlib.Path(folder) / "a"):
                return ""
        except (AssertionError, OSError) as problem:
            # Such as in a container without the rights of the daemons.
            return f"Slurm's daemons do not start here ({problem})"


def slurm(*command):
    """Return what a command of Slurm prints."""
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout


def wait_for(condition, seconds=120):
    """Wait until a condition is met, or fail."""
    patience = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < patience, "it took too long"
        time.sleep(0.05)
