"""An experiment whose runs are stubs of milliseconds, and its driver.

python -m tests.cluster.stub FOLDER ENGINE JOBS RUNS
"""

import argparse
import pathlib
import sys

from modules.errors import one_sentence
from modules.experiments import cluster, engines, launcher, processes
from modules.experiments.plan import Plan, System
from tests.cluster.stub_job import use_stubs


def stub_plan(folder, runs):
    """Return a plan of stub runs: two folds, the seeds that make `runs`."""
    system = System("stub", {}, pathlib.Path("stub.yaml"), folder="stub")
    return Plan(
        title="stubs",
        file=pathlib.Path("stub.yaml"),
        systems=[system],
        folds=[1, 2],
        seeds=list(range(1, runs // 2 + 1)),
        output_folder=pathlib.Path(folder),
        resolved={"stub": {"encoder_hub": "stub"}},
    )


def digests(folder):
    """Return run -> content of its results.json."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in pathlib.Path(folder).glob("stub/*/*/results.json")
    }


def main():
    """Run the experiment; the exit status is the number of failed runs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("engine")
    parser.add_argument("jobs", type=int)
    parser.add_argument("runs", type=int)
    parser.add_argument("--runs_per_job", type=int)
    options = parser.parse_args()
    use_stubs()
    # What a run imports again with the main module of the local launcher.
    processes.PRELOADED.append("tests.cluster.stub")
    cluster.JOB = "tests.cluster.stub_job"
    engines.Slurm.poll_seconds = 0.5
    plan = stub_plan(options.folder, options.runs)
    with one_sentence():
        if options.engine == "local":
            made = launcher.LocalLauncher(options.jobs)
        else:
            made = cluster.ClusterLauncher(
                engines.make_engine(options.engine, options.folder, 1),
                options.folder,
                options.jobs,
                runs_per_job=options.runs_per_job,
            )
        failed = launcher.launch(plan, made)
    sys.exit(len(failed))


if __name__ == "__main__":
    main()
