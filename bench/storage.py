"""Compare S3StorageProvider with bare boto3 under the same settings, on a private MinIO gateway.

Each side has one thread.
"""

from __future__ import annotations

import sys
import uuid
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:] = [str(ROOT)] + [
    entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent
]

import boto3
import botocore
import botocore.config

import infra
from bench.measure import Bench, arguments
from tests import services

SMALL = b"x" * 1000


def main() -> int:
    bench = Bench(short=arguments(__doc__).parse_args().short)
    access_key, secret_key = services.s3_keys()
    config = infra.S3StorageConfig(
        endpoint=services.shared("s3"), access_key=access_key, secret_key=secret_key
    )
    bare = boto3.session.Session(access_key, secret_key, region_name=config.region).client(
        "s3",
        endpoint_url=config.endpoint,
        config=botocore.config.Config(
            s3={"addressing_style": "path"},
            signature_version="s3v4",
            connect_timeout=config.connect_timeout,
            read_timeout=config.read_timeout,
            retries={"total_max_attempts": 1, "mode": "standard"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
    bucket = f"bench-{uuid.uuid4().hex[:20]}"
    kind: dict[str, Any] = {"ContentType": "binary/octet-stream", "Metadata": {"a": "b"}}
    try:
        with infra.S3StorageProvider(config) as ours:
            ours.create_bucket(bucket)
            for key in ("ours", "theirs"):
                ours.upload(bucket, key, SMALL)
            pairs = {
                "upload of 1 kB": (
                    lambda: ours.upload(
                        bucket, "ours", SMALL, kind["ContentType"], kind["Metadata"]
                    ),
                    lambda: bare.put_object(Bucket=bucket, Key="theirs", Body=SMALL, **kind),
                ),
                "download of 1 kB": (
                    lambda: ours.download(bucket, "ours"),
                    lambda: bare.get_object(Bucket=bucket, Key="theirs")["Body"].read(),
                ),
                "exists": (
                    lambda: ours.exists(bucket, "ours"),
                    lambda: bare.head_object(Bucket=bucket, Key="theirs"),
                ),
            }
            ratios = [
                bench.compare(name, mine, other, target=0.9, rounds=31, number=50)
                for name, (mine, other) in pairs.items()
            ]
            server = ours.health_check().server
            title = f"S3StorageProvider, times as fast as boto3 {boto3.__version__} on {server}"
            ours.delete_batch(bucket, ["ours", "theirs"])
            bare.delete_bucket(Bucket=bucket)
        bench.report(title, ratios)
        return int(bench.missed)
    finally:
        bare.close()
        services.stop_shared()


if __name__ == "__main__":
    sys.exit(main())
