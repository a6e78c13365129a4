"""Publish a benchmark with its data set, submit models and rank them.

A subscriber receives the events, and downloads the data set by a URL that needs no login.

This runs on the fakes; with --real it uses the services that the environment names (DATABASE_URL,
after `python -m infra migrate`; REDIS_URL; S3_ENDPOINT with AWS_ACCESS_KEY_ID and
AWS_SECRET_ACCESS_KEY). Both print the same.
"""

import argparse
import json
import queue
import sys
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a checkout too

import fakes
import infra

BUCKET = "infra-example-exchange"
DATA_SET = [{"ask": "2 + 2", "expect": "4"}, {"ask": "17 * 3", "expect": "51"}]


def fetch(services: infra.Infrastructure, url: str) -> bytes:
    """Return what the URL returns without a login, over HTTP or from the fake."""
    if isinstance(services.storage, fakes.FakeStorageProvider):
        return services.storage.fetch(url)
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310
        return bytes(answer.read())


def main(services: infra.Infrastructure) -> None:
    users, organizations, storage, cache, bus = (
        services.users, services.organizations, services.storage, services.cache, services.bus,
    )  # fmt: skip

    print("1. Two people, and a lab.")
    ada = users.create(infra.User("ada@example.org", "ada"))
    bob = users.create(infra.User("bob@example.org", "bob"))
    lab = organizations.create(
        infra.Organization("Analytical Lab", "analytical-lab"), owner_id=ada.id
    )
    users.add_to_organization(bob.id, lab.id)
    members = organizations.find_members(lab.id).items
    print(f"   {lab.name}: {[(member.user.username, member.role) for member in members]}")

    print("2. A subscriber waits for events.")
    received: queue.Queue[infra.Message] = queue.Queue()
    subscription = bus.subscribe_many(
        [infra.EventChannel.BENCHMARK, infra.EventChannel.SUBMISSION], received.put
    )

    print("3. A benchmark is published with its data set.")
    draft = infra.Benchmark(
        "long-sums",
        "Long sums",
        category="accuracy",
        tags=("reasoning", "maths"),
        created_by=ada.id,
    )
    sums = services.benchmarks.create(draft)
    storage.create_bucket(BUCKET)
    key = infra.StoragePath.benchmark_dataset(sums.slug, sums.version, "cases.json")
    storage.upload(
        BUCKET,
        key,
        json.dumps(DATA_SET).encode(),
        content_type="application/json",
        metadata={"by": "ada"},
    )
    about = storage.get_metadata(BUCKET, key)
    print(f"   {key}: {about.size} bytes of {about.content_type}, metadata {about.metadata}")
    for status in ("under_review", "active"):
        services.benchmarks.update_status(sums.id, status)
    bus.publish(
        infra.EventChannel.BENCHMARK, infra.BenchmarkEvent.Created(sums.id, sums.name, ada.id)
    )

    print("4. Models are submitted, and ranked.")
    for user, model, score in (
        (ada, "engine-1", 0.8),
        (bob, "engine-2", 0.9),
        (bob, "engine-3", 0.8),
    ):
        made = services.submissions.create(
            infra.Submission(sums.id, sums.version_id, model, user.id, lab.id, score)
        )
        bus.publish(
            infra.EventChannel.SUBMISSION,
            infra.SubmissionEvent.Created(made.id, sums.id, made.model, score),
        )

    def ranks() -> list[list[object]]:
        print("   (asking the database)")
        return [
            [entry.rank, entry.model, entry.username]
            for entry in services.submissions.leaderboard(sums.id)
        ]

    name = infra.CacheKey.leaderboard(sums.id)
    for _ in range(2):  # the second time from the cache
        for rank, model, username in cache.get_or_set(name, ranks, ttl=60):
            print(f"   {rank}. {model} by {username}")

    print("5. The subscriber received the events, in order.")
    for _ in range(4):
        message = received.get(timeout=10)
        if message.channel == infra.EventChannel.BENCHMARK:
            published = message.deserialize(infra.BenchmarkEvent.Created)
            print(
                f"   {message.channel}: {published.name}, by ada: {published.created_by == ada.id}"
            )
        else:
            submitted = message.deserialize(infra.SubmissionEvent.Created)
            print(f"   {message.channel}: {submitted.model_name} with {submitted.score}")
    subscription.close()

    print("6. It downloads the data set from a URL that is valid for a minute.")
    url = storage.get_presigned_url(BUCKET, key, expires_in=60)
    data = fetch(services, url)
    same = data == storage.download(BUCKET, key)
    print(f"   {len(json.loads(data))} cases. The same as stored: {same}")

    print("7. Everything is deleted, rows that refer to others first.")
    for submission in services.submissions.find_for_benchmark(sums.id).items:
        services.submissions.delete(submission.id)
    services.benchmarks.delete(sums.id)
    organizations.delete(lab.id)
    for user in (ada, bob):
        users.delete(user.id)
    stored = [found.key for found in storage.list_objects(BUCKET, "benchmarks/long-sums/")]
    gone = storage.delete_batch(BUCKET, stored)
    cache.delete(name)
    left = storage.exists(BUCKET, key), users.exists_by_username("ada")
    print(f"   Objects deleted: {len(gone.deleted)}. The data set and Ada are still known: {left}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--real", action="store_true", help="use the services that the environment names"
    )
    if parser.parse_args().real:
        with infra.Infrastructure.from_env() as real:
            main(real)
    else:
        main(fakes.FakeInfrastructure())
