"""The same job on Ray (two nodes on loopback, one of which goes away) and on submitit's stand-in for Slurm."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from studio.errors import StudioError
from studio.jobs.costs import Costs
from studio.jobs.driver import Driver
from studio.jobs.engines import RayEngine, SlurmEngine
from studio.jobs.job import owned, status
from tests.studio.jobs.work import chunk_tasks, content


def truth(chunks):
    return b"".join(content(index) for index in range(3 * chunks))


@pytest.mark.cluster
def test_ray_with_a_node_that_goes_away(new_job, monkeypatch):
    ray_cluster = pytest.importorskip("ray.cluster_utils", reason="Ray is not installed")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    options = {"object_store_memory": 80_000_000, "include_dashboard": False}
    cluster = ray_cluster.Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **options})
    try:
        node = cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
        folder, chunks = new_job(), 12

        def leave() -> None:
            while status(folder).done < 2:
                time.sleep(0.05)
            cluster.remove_node(node, allow_graceful=False)

        thread = threading.Thread(target=leave)
        thread.start()
        with owned(folder):
            tasks = chunk_tasks(chunks, seconds=0.1)
            outcome = Driver(folder, tasks, RayEngine(cluster.address), Costs()).run()
        thread.join()
        assert (outcome.state, outcome.failed) == ("done", ())
        assert (folder / "video" / "whole.bin").read_bytes() == truth(chunks)
    finally:
        cluster.shutdown()


@pytest.mark.cluster
def test_an_address_where_no_cluster_is():
    pytest.importorskip("ray", reason="Ray is not installed")
    with pytest.raises(StudioError, match=r"no Ray cluster at 127\.0\.0\.1:1"):
        RayEngine("127.0.0.1:1")


@pytest.mark.parametrize("cluster", ["debug", "local"])
def test_submitit(new_job, tmp_path, cluster):
    pytest.importorskip("submitit", reason="submitit is not installed")
    folder = new_job()
    with owned(folder):
        engine = SlurmEngine(tmp_path / "slurm", None, cluster)
        assert Driver(folder, chunk_tasks(2), engine, Costs()).run().state == "done"
    assert (folder / "video" / "whole.bin").read_bytes() == truth(2)


def test_no_slurm_here(tmp_path):
    pytest.importorskip("submitit", reason="submitit is not installed")
    with pytest.raises(StudioError, match="no Slurm here"):
        SlurmEngine(tmp_path, "gpu")
