"""`modules.experiments.job` with stubs of milliseconds as runs."""

import os

from modules.experiments import job, processes
from tests.cluster import stub_run


def use_stubs():
    """Have this process run stubs in place of train.py.

    With STUB_IMPORTS in the environment they import what runs import.
    """
    if "STUB_IMPORTS" not in os.environ:
        processes.PRELOADED.clear()
    processes.PRELOADED.append("tests.cluster.stub_run")
    processes.run_one = stub_run.run_one
    processes.encode_one = stub_run.encode_one


if __name__ == "__main__":
    use_stubs()
    job.main()
