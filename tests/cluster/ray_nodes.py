"""Ray on this machine: two raylets of one core each.

with RayNodes() as nodes: ...   # RAY_ADDRESS is its address
"""

import os


class RayNodes:
    """Two raylets of one core each, ended on leaving."""

    OWN = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    ENVIRONMENT = {
        # Else this machine's other work, if there is any, starves the workers.
        "RAY_worker_niceness": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
    }

    def __enter__(self):
        from ray.cluster_utils import Cluster

        self.before = dict(os.environ)
        os.environ.update(self.ENVIRONMENT)
        head = self.OWN | {"include_dashboard": False}
        self.cluster = Cluster(True, head_node_args=head)
        self.second = self.cluster.add_node(**self.OWN)
        os.environ["RAY_ADDRESS"] = self.cluster.address
        return self

    def __exit__(self, *_):
        self.cluster.shutdown()
        os.environ.clear()
        os.environ.update(self.before)

    def replace_one(self):
        """Kill a raylet; another one joins."""
        self.cluster.remove_node(self.second, allow_graceful=False)
        self.second = self.cluster.add_node(**self.OWN)
        return True
