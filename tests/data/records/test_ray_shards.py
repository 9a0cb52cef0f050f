"""Records built on a real Ray cluster: one node, on this machine."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fcoslite.data.records.build import build_records
from fcoslite.errors import ClusterError, ConfigError, TooManySkippedError
from tests.data.records.test_merge import OPTIONS, files
from tests.ports import free_port
from tests.ray_clusters import ENVIRONMENT, ray_head


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Address of a cluster with two CPUs."""
    environment = pytest.MonkeyPatch()
    for name, value in ENVIRONMENT.items():
        environment.setenv(name, value)
    with ray_head(2) as address:
        yield address
    environment.undo()


def test_the_bytes_are_those_of_one_process_with_skipped_images_too(
    demo_data: Path, tmp_path: Path, cluster: str
) -> None:
    data = tmp_path / "data"
    shutil.copytree(demo_data, data)
    for path in sorted((data / "images").iterdir())[::12]:
        path.unlink()
    arguments = OPTIONS | {"engine": "ray", "address": cluster}
    with pytest.raises(TooManySkippedError, match="more than --max-skipped 2 allows"):
        build_records(data, tmp_path / "ray", max_skipped="2", **arguments)
    with pytest.raises(TooManySkippedError):  # by what is finished, too
        build_records(data, tmp_path / "ray", max_skipped="0", **arguments)
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / ".ray.partial").glob("*.tfrecord")}
    assert kept
    result = build_records(data, tmp_path / "ray", max_skipped="3", **arguments)
    assert (result.images, result.skipped_images, result.shards) == (29, 3, 7)
    build_records(data, tmp_path / "local", max_skipped="3", **OPTIONS)
    assert files(tmp_path / "ray") == files(tmp_path / "local")
    assert all((tmp_path / "ray" / name).stat().st_mtime_ns == time for name, time in kept.items())


@pytest.mark.parametrize("address", ["auto-", "ray://127.0.0.1:{}", "127.0.0.1:{}"])
def test_no_cluster_there(demo_data: Path, tmp_path: Path, address: str) -> None:
    with pytest.raises(ClusterError, match="no Ray cluster at") as caught:
        build_records(demo_data, tmp_path / "out", engine="ray", address=address.format(free_port()), **OPTIONS)
    assert "ray start --head" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_without_ray(demo_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="Ray is not installed") as caught:
        build_records(demo_data, tmp_path / "out", engine="ray", **OPTIONS)
    assert "fcoslite[ray]" in caught.value.hint
