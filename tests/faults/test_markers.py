"""As tests/unit/test_markers.py, on real servers: with SQL in the logs, and a wrong password."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import infra
from tests import s3_stand_in, services
from tests.contract.backends import eventually
from tests.services import Server
from tests.unit.test_markers import KEY, MESSAGE, TEXT, VALUE, Outputs, check, refused, use_all
from tests.unit.test_markers import outputs as outputs  # the fixture

pytestmark = pytest.mark.real

NUMBER = "4711293847"


def with_login(url: str, login: str) -> str:
    """The URL with another user and password."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{login}@{rest.rpartition('@')[2]}"


def use_sql(database: infra.Database) -> None:
    database.execute("CREATE TABLE letters (n BIGINT PRIMARY KEY, v VARCHAR(99))")
    statement = f"INSERT INTO letters VALUES ({NUMBER}, '{TEXT}-literal') /* {TEXT} */"
    database.execute(statement)
    refused(database.execute, statement)  # the server's error quotes the key
    database.execute("INSERT INTO letters VALUES (%s, %s)", (1, VALUE))
    refused(database.execute, f"SELECT '{TEXT}-literal' FRM letters")
    refused(database.fetch_one, "SELECT n FROM absent WHERE v = %s", (VALUE,))
    assert len(list(database.stream(f"SELECT v FROM letters WHERE v <> '{TEXT}'"))) == 2


@pytest.mark.parametrize("engine", ["postgres", "mariadb"])
def test_no_output_of_a_real_bundle_has_a_marker(
    private_server: Callable[[str], Server],
    strict_s3: s3_stand_in.StrictS3,
    outputs: Outputs,
    engine: str,
) -> None:
    redis, server = private_server("redis"), private_server(engine)
    access_key, secret_key = services.s3_keys()
    env = {
        "REDIS_URL": redis.url,
        "DATABASE_URL": server.url,
        "DATABASE_LOG_SQL": "true",
        "SLOW_CALLS": "0.000001",
        "SMS_PROVIDER": "mock",
        "PHONE_HASH_KEY": f"{TEXT}-" * 8,
        "S3_ENDPOINT": strict_s3.url,
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": secret_key,
    }
    with infra.Infrastructure.from_env(env, observer=outputs.observers) as bundle:
        infra.Migrator(bundle.exchange).apply()
        secrets = use_all(bundle, outputs)
        use_sql(bundle.exchange)
        eventually(lambda: bundle.bus.handler_errors == 1)
        bundle.redis.publish("plain", MESSAGE)
        redis.stop()
        refused(bundle.redis.get, KEY)
        outputs.ask_health(bundle)
    env["DATABASE_URL"] = with_login(server.url, f"{TEXT}-user:{TEXT}-password")
    with infra.Infrastructure.from_env(env, observer=outputs.observers) as bundle:
        refused(bundle.users.find_by_email, KEY)
        outputs.ask_health(bundle)
    check(outputs, [*secrets, NUMBER, secret_key])
    found = outputs.log.lines
    assert any("INSERT INTO letters VALUES (%s, %s)" in line for line in found)
    assert any(" took " in line for line in found)
