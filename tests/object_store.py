"""A real S3 server, moto's, for as long as it is needed."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

BUCKET = "fcoslite"


@contextmanager
def s3_server() -> Iterator[dict[str, str]]:
    """What the environment must hold to reach it; there is a bucket already."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "reader-of-records",
        "AWS_SECRET_ACCESS_KEY": "not-to-be-logged",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    patch = pytest.MonkeyPatch()
    for name, value in environment.items():
        patch.setenv(name, value)
    try:
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        yield environment
    finally:
        patch.undo()
        server.stop()
        _forget()


def _forget() -> None:
    """Connections that fsspec keeps are to a server that is gone."""
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
