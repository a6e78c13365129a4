"""Settings: from code, from the environment, wrong ones, and what their reprs hide."""

from __future__ import annotations

import dataclasses
import gc
import inspect
import math
import re
from collections.abc import Callable
from typing import Any

import pytest

import infra
from tests.contract.texts import Text, any_text, plain
from tests.faults.proxy import ScriptedRedis
from tests.services import free_port

SECRET = "s3cret-s3cret-s3cret-s3cret-s3cret"


def test_defaults() -> None:
    config = infra.Config.from_env({})
    assert config == infra.Config()
    assert config.cache == infra.CacheConfig(
        "redis://localhost:6379", 5, 3600, 1, 2, 5, 3, "cache:", ""
    )
    assert config.verification == infra.VerificationConfig(300, 3, 30, 5, 3600, 10)
    assert (config.mysql, config.postgres, config.sms.provider, config.phone_hash_key) == (
        None,
        None,
        None,
        None,
    )


@any_text
def test_text_of_any_subclass(text: Text) -> None:
    """Each text setting of each class; drivers write str() of it into logins and headers."""
    account, url = "AC" + "0" * 32, "redis://:p@cache:6380/2"
    made = [
        infra.DatabaseConfig(text("mysql://u:p@db/accounts")),
        infra.CacheConfig(text(url)),
        infra.S3StorageConfig(
            text("eu-north-1"), text("http://s3:9000"), text("https://public"),
            text("id"), text("key"), text("token"),
        ),
        infra.SmsConfig(
            text("twilio"), text("SK1"), text("secret"), text(account), text("+14155550100"),
            region=text("eu-north-1"),
        ),
        infra.Config(
            phone_hash_key=text(SECRET), audit_key=text(SECRET), events_url=text("nats://:p@nats")
        ),
        infra.NatsConfig(text("tls://u:p@nats")),
        infra.RabbitMQConfig(text("amqps://u:p@rabbit/%2Forders")),
    ]  # fmt: skip
    assert plain(made) == [
        infra.DatabaseConfig("mysql://u:p@db/accounts"),
        infra.CacheConfig(url),
        infra.S3StorageConfig(
            "eu-north-1", "http://s3:9000", "https://public", "id", "key", "token"
        ),
        infra.SmsConfig("twilio", "SK1", "secret", account, "+14155550100", region="eu-north-1"),
        infra.Config(phone_hash_key=SECRET, audit_key=SECRET, events_url="nats://:p@nats"),
        infra.NatsConfig("tls://u:p@nats"),
        infra.RabbitMQConfig("amqps://u:p@rabbit/%2Forders"),
    ]
    assert made[0].engine == "mysql"  # type: ignore[attr-defined]
    env = {"MYSQL_URL": text("mysql://u:p@db/accounts"), "SMS_PROVIDER": text(" twilio ")}
    read = plain(infra.Config.from_env(env))
    assert (read.mysql, read.sms.provider) == (made[0], "twilio")
    for config in made:
        types = {each.name: str(each.type) for each in dataclasses.fields(config)}
        texts = [name for name in types if re.fullmatch(r"str( \| None)?", types[name])]
        assert all(isinstance(getattr(config, name), str) for name in texts), "one is not set here"


def test_every_variable() -> None:
    config = infra.Config.from_env(
        {
            "MYSQL_URL": "mysql://u:p@db/accounts",
            "DATABASE_URL": "postgresql://u:p@db:5433/exchange",
            "DATABASE_MAX_CONNECTIONS": "7",
            "DATABASE_MIN_CONNECTIONS": "0",
            "DATABASE_INTERRUPTIBLE": "false",
            "DATABASE_ERROR_DETAIL": "true",
            "REDIS_URL": " redis://:p@cache:6380/2 ",
            "REDIS_POOL_SIZE": "9",
            "AWS_REGION": "eu-north-1",
            "S3_ENDPOINT": "http://127.0.0.1:9000",
            "S3_KEEPS_FOLDERS": "true",
            "AWS_ACCESS_KEY_ID": "id",
            "AWS_SECRET_ACCESS_KEY": "key",
            "AWS_SESSION_TOKEN": "token",
            "SMS_PROVIDER": "twilio",
            "SMS_API_KEY": "AC1",
            "SMS_API_SECRET": "auth",
            "SMS_ACCOUNT_SID": "AC2",
            "SMS_FROM": "+14155550100",
            "PHONE_HASH_KEY": SECRET,
            "AUDIT_KEY": SECRET[::-1],
            "CACHE_PREFIX": " shop: ",
            "CHANNEL_PREFIX": "live:",
            "VERIFICATION_CODE_TTL": "600",
            "VERIFICATION_MAX_ATTEMPTS": "4",
            "VERIFICATION_RESEND_AFTER": "1.5",
            "VERIFICATION_MAX_CODES": "0",
            "VERIFICATION_WINDOW": "60",
            "VERIFICATION_MAX_GUESSES": "20",
            "UNRELATED": "x",
        }
    )
    assert config == infra.Config(
        mysql=infra.DatabaseConfig(
            "mysql://u:p@db/accounts", 7, 0, interruptible=False, error_detail=True
        ),
        postgres=infra.DatabaseConfig(
            "postgresql://u:p@db:5433/exchange", 7, 0, interruptible=False, error_detail=True
        ),
        cache=infra.CacheConfig(
            "redis://:p@cache:6380/2", pool_size=9, prefix="shop:", channel_prefix="live:"
        ),
        storage=infra.S3StorageConfig(
            "eu-north-1", "http://127.0.0.1:9000", None, "id", "key", "token", keeps_folders=True
        ),
        sms=infra.SmsConfig("twilio", "AC1", "auth", "AC2", "+14155550100", region="eu-north-1"),
        phone_hash_key=SECRET,
        audit_key=SECRET[::-1],
        verification=infra.VerificationConfig(600, 4, 1.5, 0, 60, 20),
    )
    assert (config.mysql.engine, config.postgres.engine) == ("mysql", "postgres")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "url",
    [
        "rediss://cache",
        "rediss://u:p@cache:6380/2?sslmode=verify-ca&sslrootcert=/ca.pem&sslcert=/c.pem&sslkey=/k.pem",
        "redis+cluster://:p@cache:6379",
        "redis+cluster://cache/0",
        "rediss+cluster://cache?sslmode=require",
    ],
)
def test_urls_of_redis(url: str) -> None:
    assert infra.Config.from_env({"REDIS_URL": url}).cache.url == url


@pytest.mark.parametrize("scheme", ["redis", "rediss", "redis+cluster", "rediss+cluster"])
def test_a_redis_user_needs_a_password(scheme: str) -> None:
    """Nobody was logged in, though the name may well be meant as the password."""
    with pytest.raises(infra.ConfigurationError, match="redis://:password@host") as caught:
        infra.CacheConfig(f"{scheme}://{SECRET}@cache")
    assert SECRET not in str(caught.value)


def test_the_bundle_takes_its_limits_from_the_environment() -> None:
    env = {"VERIFICATION_RESEND_AFTER": "0", "VERIFICATION_MAX_CODES": "0", "CACHE_PREFIX": "app:"}
    config = infra.Config.from_env(env)
    assert (config.cache.prefix, config.verification.max_guesses) == ("app:", 10)
    assert config.verification == infra.VerificationConfig(resend_after=0, max_codes=0)
    words = "verification should be of class VerificationConfig$"
    with pytest.raises(infra.ConfigurationError, match=words):
        infra.Config(verification=infra.CacheConfig())  # type: ignore[arg-type]


def test_the_limits_of_the_bundle_are_those_of_the_class() -> None:
    defaults = inspect.signature(infra.VerificationCache).parameters
    for each in dataclasses.fields(infra.VerificationConfig):
        assert each.default == defaults[each.name].default, each.name


@pytest.mark.parametrize(
    ("url", "engine"),
    [
        ("POSTGRES://u:p@db/x", "postgres"),
        ("Mysql://u:p@db/x", "mysql"),
        ("postgresql://%2Fvar%2Frun%2FPostgreSQL/db", "postgres"),
        ("mysql://u:p@%2Frun%2Fmysqld%2Fmysqld.sock/db", "mysql"),
        ("postgresql://[fe80::1%25eth0]:5433/db", "postgres"),
        ("postgresql://u:p@db/x?channel_binding=require&sslmode=require", "postgres"),
        ("postgresql://db/x?application_name=a%20b&options=-c%20a%3Db", "postgres"),
        ("postgresql://db/x?target_session_attrs=read-write", "postgres"),
        ("mysql://u:p@db/x?charset=utf8mb4", "mysql"),
        ("mysql://u:100%25%40@db/x", "mysql"),
    ],
)
def test_urls_of_databases(url: str, engine: str) -> None:
    config = infra.Config.from_env({"DATABASE_URL": url})
    assert {"mysql": config.mysql, "postgres": config.postgres}[engine] == infra.DatabaseConfig(url)
    assert infra.DatabaseConfig(url).engine == engine


ENCODED = re.escape("% : / ? # [ ] @ and blanks are written percent-encoded")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (f"mysql://u:{SECRET}/@db/x", ENCODED),
        (f"mysql://u:{SECRET}?@db/x", ENCODED),
        (f"mysql://u:{SECRET}#@db/x", ENCODED),
        (f"mysql://u:{SECRET}[@db/x", ENCODED),
        (f"mysql://u:{SECRET} @db/x", ENCODED),
        (f"mysql://u:{SECRET}%ff@db/x", "it is no URL"),
        (f"mysql://u:12/{SECRET}@db/x", ENCODED),
        (f"mysql+pymysql://u:{SECRET}@db/x", "its scheme is not mysql or mariadb or postgresql"),
        (f"postgresql://u:{SECRET}@a:1,b:2/x", "more than one host"),
        (f"postgresql://u:{SECRET}@db:x/x", "its port should be a number from 1 to 65535"),
        (f"postgresql:///x?host=/run&password={SECRET}", "it names no host.*percent-encoded"),
        (f"postgresql://u:{SECRET}@a%2Fb/x", "its host should be a name"),
        (f"postgresql://u:{SECRET}@db", "behind its host"),
        (f"postgresql://u:{SECRET}@db/x/y", "behind its host"),
        (f"postgresql://db/x?password={SECRET}", "its options should be among: sslmode, .*options"),
        (f"postgresql://db/x?{SECRET}=5", "its options should be among"),
        (f"postgresql://db/x?{SECRET}", "name=value each"),
        (f"mysql://u:{SECRET}@db/x?application_name=a", "its options should be among: sslmode"),
        (f"mysql://u:{SECRET}@db/x?charset=latin1", "its option charset should be utf8mb4"),
        (f"mysql://u:{SECRET}@db/x?sslmode=on", "its option sslmode should be disable, prefer, "),
        ("postgresql://db/x?application_name=", "its option application_name should not be empty"),
        (f"mysql://u:{SECRET}@db/x?sslmode=require&sslmode=require", "an option twice"),
    ],
)
def test_why_a_url_is_refused(url: str, reason: str) -> None:
    with pytest.raises(infra.ConfigurationError, match=f"DATABASE_URL should be .* But .*{reason}"):
        infra.Config.from_env({"DATABASE_URL": url})
    with pytest.raises(infra.ConfigurationError, match=f"should be .* But .*{reason}") as caught:
        infra.DatabaseConfig(url)
    assert SECRET not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("variable", "url", "reason"),
    [
        ("REDIS_URL", "redis://cache?sslmode=require", "with rediss://"),
        ("REDIS_URL", "redis://%2Frun%2Fredis.sock", "which only databases take"),
        ("REDIS_URL", "https://cache", "its scheme is not redis or rediss"),
        ("S3_ENDPOINT", "https://s3/files", "behind its host"),
        ("S3_ENDPOINT", "https://id@s3", "keys have settings of their own"),
        ("S3_ENDPOINT", "https://files.s3.amazonaws.com", "it names the bucket"),
        ("MYSQL_URL", "postgresql://db/x", "that of another engine: POSTGRES_URL takes it"),
        ("POSTGRES_URL", "mysql://db/x", "that of another engine: MYSQL_URL takes it"),
    ],
)
def test_why_other_urls_are_refused(variable: str, url: str, reason: str) -> None:
    with pytest.raises(infra.ConfigurationError, match=f"{variable}.* should be .* But .*{reason}"):
        infra.Config.from_env({variable: url})


@pytest.mark.parametrize("scheme", ["https:/", "https:///", "https://:443", "https://a%2Fb"])
def test_only_databases_hear_of_sockets(scheme: str) -> None:
    for variable, url in (("S3_ENDPOINT", scheme), ("REDIS_URL", scheme.replace("https", "redis"))):
        with pytest.raises(infra.ConfigurationError, match=r"But it") as caught:
            infra.Config.from_env({variable: url})
        assert str(caught.value).endswith(
            ("But it names no host", "But its host should be a name or an address")
        )


@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("REDIS_URL", "rediss://:{}@{}"),
        ("REDIS_URL", "redis+cluster://:{}@{}:7000"),
        ("MYSQL_URL", "mysql://u:{}@{}/x"),
        ("POSTGRES_URL", "postgresql://u:{}@{}/x"),
        ("S3_ENDPOINT", "https://{0}.{1}"),
    ],
)
@pytest.mark.parametrize("host", ["a..b", "a" * 64, "%C3%A9" * 70, ".a"])
def test_a_host_that_no_name_service_could_be_asked_for(variable: str, url: str, host: str) -> None:
    """Python cannot encode it: that was no error of ours, and its variables held the password."""
    with pytest.raises(infra.ConfigurationError, match=f"{variable}.* But its host should be") as e:
        infra.Config.from_env({variable: url.format(SECRET, host)})
    assert SECRET not in str(e.value)


@pytest.mark.parametrize("host", ["under_score", "a" * 63, "example.", "%C3%A9.example", "[::1]"])
def test_hosts_that_a_name_service_can_be_asked_for(host: str) -> None:
    assert infra.CacheConfig(f"redis://{host}").url == f"redis://{host}"


@pytest.mark.parametrize(
    ("env", "regions"),
    [
        ({}, ("us-east-1", "us-east-1")),
        ({"AWS_DEFAULT_REGION": "a"}, ("a", "a")),
        ({"AWS_REGION": " ", "AWS_DEFAULT_REGION": "a"}, ("a", "a")),
        ({"AWS_REGION": "b", "AWS_DEFAULT_REGION": "a"}, ("b", "b")),
        ({"SNS_REGION": "c", "AWS_REGION": "b", "AWS_DEFAULT_REGION": "a"}, ("b", "c")),
        ({"SNS_REGION": "c"}, ("us-east-1", "c")),
    ],
)
def test_regions(env: dict[str, str], regions: tuple[str, str]) -> None:
    config = infra.Config.from_env(env)
    assert (config.storage.region, config.sms.region) == regions


def test_none_in_a_mapping_is_unset() -> None:
    names = ["REDIS_URL", "MYSQL_URL", "DATABASE_URL", "AWS_REGION", "PHONE_HASH_KEY"]
    env: Any = dict.fromkeys(names)
    assert infra.Config.from_env(env) == infra.Config()
    for name in names:
        with pytest.raises(infra.ConfigurationError, match=f"^{name} should be text$"):
            infra.Config.from_env({name: 5})  # type: ignore[dict-item]
    with pytest.raises(infra.ConfigurationError, match=r"^env should map"):
        infra.Config.from_env(5)  # type: ignore[arg-type]


def test_a_pool_of_no_database() -> None:
    for make in (infra.create_pool, infra.ConnectionPool):
        with pytest.raises(infra.ConfigurationError, match="POSTGRES_URL is not set"):
            make(infra.Config.from_env({}).postgres)  # type: ignore[arg-type]


def test_an_empty_variable_is_unset() -> None:
    assert (
        infra.Config.from_env({"REDIS_URL": "", "SMS_PROVIDER": "  ", "DATABASE_URL": ""})
        == infra.Config()
    )


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("REDIS_URL", "http://cache"),
        ("REDIS_URL", "cache:6379"),
        ("REDIS_URL", "redis:///1"),
        ("REDIS_URL", f"redis://{SECRET}@cache"),
        ("REDIS_URL", f"redis://{SECRET}:@cache"),
        ("REDIS_URL", f"rediss+cluster://{SECRET}@cache:6379"),
        ("CACHE_PREFIX", f"a\0{SECRET}"),
        ("VERIFICATION_RESEND_AFTER", "-1"),
        ("VERIFICATION_RESEND_AFTER", "nan"),
        ("VERIFICATION_MAX_CODES", "5.0"),
        ("VERIFICATION_MAX_GUESSES", "-1"),
        ("VERIFICATION_MAX_ATTEMPTS", "0"),
        ("VERIFICATION_WINDOW", "-3"),
        ("VERIFICATION_CODE_TTL", "inf"),
        ("REDIS_URL", "redis://cache:port"),
        ("REDIS_URL", "redis://cache:99999"),
        ("REDIS_URL", "redis://cache/db"),
        ("REDIS_URL", "redis://cache/٣"),
        ("REDIS_URL", "redis://cache:0"),
        ("REDIS_URL", "redis://ca che"),
        ("REDIS_URL", f"redis://:{SECRET}\n@cache"),
        ("REDIS_URL", f"redis://:{SECRET}\udcff@cache"),
        ("REDIS_URL", f"redis://:{SECRET}%ff@cache"),
        ("PHONE_HASH_KEY", f"{SECRET}\udcff"),
        ("SMS_API_KEY", f"{SECRET}\udcff"),
        ("REDIS_POOL_SIZE", "1_0"),
        ("DATABASE_URL", f"mysql://root:12/{SECRET}@host/x"),
        ("REDIS_URL", f"redis://:{SECRET}@cache/0?timeout=5"),
        ("REDIS_URL", "rediss://cache?sslmode=prefer"),
        ("REDIS_URL", "rediss://cache?ssl_cert_reqs=none"),
        ("REDIS_URL", "redis://cache?sslmode=require"),
        ("REDIS_URL", "redis+cluster://cache/1"),
        ("REDIS_URL", "rediss+cluster://cache/0?sslrootcert="),
        ("REDIS_URL", "cluster://cache"),
        ("MYSQL_URL", "mysql://cache/db?sslmode="),
        ("REDIS_POOL_SIZE", "0"),
        ("REDIS_POOL_SIZE", "five"),
        ("REDIS_POOL_SIZE", "2.5"),
        ("DATABASE_URL", "sqlite:///file"),
        ("DATABASE_URL", f"mysql://u:{SECRET}@db"),
        ("MYSQL_URL", f"postgresql://u:{SECRET}@db/x"),
        ("POSTGRES_URL", f"mysql://u:{SECRET}@db/x"),
        ("S3_ENDPOINT", "s3.example.com"),
        ("S3_ENDPOINT", f"https://u:{SECRET}@s3.example.com"),
        ("S3_ENDPOINT", "https://s3.example.com/?bucket=x"),
        ("S3_ENDPOINT", "ftp://s3.example.com"),
        ("S3_KEEPS_FOLDERS", "maybe"),
        ("SMS_PROVIDER", "pigeon"),
        ("PHONE_HASH_KEY", "too short"),
        ("AUDIT_KEY", f"{SECRET}\udcff"),
        ("AUDIT_KEY", "too short"),
    ],
)
def test_a_wrong_variable_is_named_and_not_quoted(variable: str, value: str) -> None:
    with pytest.raises(infra.ConfigurationError, match=f"{variable}.*should be") as caught:
        infra.Config.from_env({variable: value})
    assert value not in str(caught.value)
    assert SECRET not in repr(caught.value)
    assert caught.value.__cause__ is None


def test_fewer_connections_than_the_minimum() -> None:
    env = {
        "MYSQL_URL": "mysql://u:p@db/x",
        "DATABASE_MAX_CONNECTIONS": "2",
        "DATABASE_MIN_CONNECTIONS": "3",
    }
    with pytest.raises(infra.ConfigurationError, match="DATABASE_MIN_CONNECTIONS"):
        infra.Config.from_env(env)


@pytest.mark.parametrize(
    "names",
    [
        ["ACCESS_KEY_ID"],
        ["SECRET_ACCESS_KEY"],
        ["SESSION_TOKEN"],
        ["SECRET_ACCESS_KEY", "SESSION_TOKEN"],
    ],
)
def test_half_of_a_login_to_s3(names: list[str]) -> None:
    with pytest.raises(
        infra.ConfigurationError, match=r"AWS_ACCESS_KEY_ID.*AWS_SECRET_ACCESS_KEY"
    ) as caught:
        infra.Config.from_env({f"AWS_{name}": SECRET for name in names})
    assert SECRET not in repr(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9000",
        "https://s3.example.com",
        "https://s3.example.com/",
        "http://[::1]:9000",
        "https://s3.eu-north-1.amazonaws.com",
        "https://s3.dualstack.eu-north-1.amazonaws.com",
        "https://bucket.vpce-1a2b3c4d-5e6f.s3.us-east-1.vpce.amazonaws.com",
    ],
)
def test_endpoints_of_s3(url: str) -> None:
    config = infra.S3StorageConfig(endpoint=url, public_endpoint=url)
    assert (config.endpoint, config.public_endpoint) == (url, url)


@pytest.mark.parametrize("name", ["endpoint", "public_endpoint"])
@pytest.mark.parametrize(
    "url",
    [
        "https://s3.example.com/bucket",
        "https://s3.example.com/bucket/",
        "https://s3.example.com//",
        "https://example.com/storage/v1/s3",
        "http://127.0.0.1:9000/%2F",
        "https://bucket.s3.amazonaws.com",
        "https://bucket.s3.eu-north-1.amazonaws.com",
        "https://my.bucket.s3-eu-west-1.amazonaws.com",
        "https://bucket.s3.dualstack.eu-north-1.amazonaws.com/",
        "https://bucket.s3.cn-north-1.amazonaws.com.cn",
        "https://bucket.s3-fips.us-east-1.amazonaws.com",
        "https://bucket.s3-accelerate.amazonaws.com",
        "https://bucket.s3-accelerate.dualstack.amazonaws.com",
    ],
)
def test_an_endpoint_that_names_a_bucket(name: str, url: str) -> None:
    """Objects would go to another bucket, or under another key."""
    with pytest.raises(infra.ConfigurationError, match=rf"S3StorageConfig\.{name}.*without a path"):
        infra.S3StorageConfig(**{name: url})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://u%00:{SECRET}@db/x",
        f"postgresql://u:{SECRET}%00@db/x",
        f"postgresql://u:{SECRET}@db/x%00y",
        f"postgresql://u:{SECRET}@db/x?sslrootcert=a%00b",
        f"postgresql://u:{SECRET}@db/x?application_name=a%00b",
        f"postgresql://u:{SECRET}@db/x?options=-c%00",
        f"mysql://u%00:{SECRET}@db/x",
        f"mysql://u:{SECRET}%00@db/x",
        f"mysql://u:{SECRET}@db/x%00y",
    ],
)
def test_a_nul_in_a_url_of_a_database(url: str) -> None:
    with pytest.raises(infra.ConfigurationError, match=r"it holds a NUL \(%00\)") as caught:
        infra.DatabaseConfig(url)
    assert SECRET not in repr(caught.value)


@pytest.mark.parametrize(
    "url", [f"redis://:{SECRET}%00@cache", f"redis://u%00:{SECRET}@cache", "redis://cache/0%00"]
)
def test_a_nul_in_a_url_of_redis(url: str) -> None:
    with pytest.raises(infra.ConfigurationError, match=r"it holds a NUL \(%00\)") as caught:
        infra.CacheConfig(url)
    assert SECRET not in repr(caught.value)


def test_names_of_configurations_of_redis() -> None:
    assert infra.RedisCacheConfig is infra.CacheConfig
    assert infra.RedisEventBusConfig is infra.CacheConfig
    assert {"RedisCacheConfig", "RedisEventBusConfig"} <= {*infra.__all__}


def test_one_engine_has_one_url() -> None:
    url, other = "mysql://u:p@db/x", "mariadb://u:p@db/y"
    assert infra.Config.from_env(
        {"DATABASE_URL": url, "MYSQL_URL": url}
    ).mysql == infra.DatabaseConfig(url)
    same = infra.Config.from_env({"DATABASE_URL": "MariaDB://u:p@DB:3306/x", "MYSQL_URL": url})
    assert same.mysql == infra.DatabaseConfig(url)
    for odd, differing in (
        (other, "database"),
        (url + "?sslmode=require", "options"),
        ("mysql://v:p@db:3307/x", "port, user"),
        ("mysql://u:q@db2/x", "host, password"),
    ):
        with pytest.raises(infra.ConfigurationError) as caught:
            infra.Config.from_env({"DATABASE_URL": odd, "MYSQL_URL": url})
        assert str(caught.value) == (
            f"DATABASE_URL and MYSQL_URL differ ({differing}): set one of them"
        )


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (infra.CacheConfig, {"url": 5}),
        (infra.CacheConfig, {"pool_size": True}),
        (infra.CacheConfig, {"pool_size": None}),
        (infra.CacheConfig, {"url": None}),
        (infra.CacheConfig, {"pool_size": 1.0}),
        (infra.CacheConfig, {"deadline": 0}),
        (infra.CacheConfig, {"deadline": 10**400}),
        (infra.CacheConfig, {"socket_timeout": 1e9}),
        (infra.Config, {"cache": f"redis://:{SECRET}@cache"}),
        (infra.Config, {"mysql": infra.DatabaseConfig("postgres://u:p@db/x")}),
        (infra.Config, {"sms": None}),
        (infra.CacheConfig, {"socket_timeout": math.nan}),
        (infra.CacheConfig, {"connect_timeout": math.inf}),
        (infra.CacheConfig, {"retries": -1}),
        (infra.CacheConfig, {"default_ttl": "1"}),
        (infra.DatabaseConfig, {}),
        (infra.DatabaseConfig, {"url": ""}),
        (infra.S3StorageConfig, {"region": ""}),
        (infra.S3StorageConfig, {"endpoint": ""}),
        (infra.S3StorageConfig, {"public_endpoint": "files.example.com"}),
        (infra.SmsConfig, {"timeout": 0}),
    ],
)
def test_wrong_settings_in_code(kind: Any, options: dict[str, Any]) -> None:
    with pytest.raises(infra.ConfigurationError, match=f"{kind.__name__}.*should be"):
        kind(**options)


def test_reprs_mask_secrets() -> None:
    config = infra.Config(
        mysql=infra.DatabaseConfig(f"mysql://user:{SECRET}@db/x"),
        postgres=infra.DatabaseConfig(f"postgres://us@er:{SECRET}@db/x"),
        cache=infra.CacheConfig(f"redis://:{SECRET}@cache"),
        storage=infra.S3StorageConfig(
            endpoint="http://s3:9000", access_key=SECRET, secret_key=SECRET, session_token=SECRET
        ),
        sms=infra.SmsConfig("twilio", SECRET, SECRET, SECRET, SECRET),
        phone_hash_key="://" + SECRET,
        audit_key=SECRET,
    )
    assert SECRET not in repr(config)
    assert "mysql://***@db/x" in repr(config)
    assert "redis://***@cache" in repr(config)
    assert "secret_key='***'" in repr(config)


@pytest.mark.real
def test_no_part_of_a_client_shows_a_secret() -> None:
    """As a debugger shows them, or a service that collects errors with their local variables."""
    client = infra.RedisClient(infra.CacheConfig(f"redis://user:{SECRET}@cache"))
    found: list[object] = [client]
    for each in found:
        own = [part for part in gc.get_referents(each) if type(part).__module__ == "infra"]
        inner = [
            part
            for holder in gc.get_referents(each)
            if isinstance(holder, (dict, list, tuple)) and len(holder) < 50
            for part in gc.get_referents(holder)
            if type(part).__module__ == "infra"
        ]
        found += [part for part in (*own, *inner) if not any(part is known for known in found)]
    assert len(found) > 3
    for each in found:
        assert SECRET not in repr(each)


@pytest.mark.real
def test_urls_are_decoded_in_parts() -> None:
    asked: list[list[bytes]] = []

    def answer(words: list[bytes], send: Callable[[bytes], None]) -> None:
        asked.append(words)
        send(b"+OK\r\n" if words[0] != b"EXISTS" else b":1\r\n")

    with ScriptedRedis(answer) as server:
        url = f"redis://us%40er:p%3A%2F@127.0.0.1:{server.port}/3"
        with infra.RedisClient(infra.CacheConfig(url)) as client:
            assert client.exists("k") is True
    assert asked == [[b"AUTH", b"us@er", b"p:/"], [b"SELECT", b"3"], [b"EXISTS", b"k"]]
    port = free_port()
    with (
        infra.RedisClient(infra.CacheConfig(f"redis://[::1]:{port}")) as client,
        pytest.raises(infra.ConnectionError, match=f"^redis at ::1:{port} could not be reached"),
    ):
        client.exists("k")


def test_a_database_that_is_not_configured_names_its_variables() -> None:
    """The type checker says it too: see user_code.py. The other parts of Config are never None."""
    config = infra.Config.from_env({})
    for absent in (config.mysql, config.postgres):
        for make in (infra.create_pool, infra.ConnectionPool):
            with pytest.raises(infra.ConfigurationError, match="MYSQL_URL or POSTGRES_URL is not"):
                make(absent)  # type: ignore[arg-type]
    none: Any = None
    for made in (infra.create_sms_service, infra.TwilioSmsService, infra.SnsSmsService):
        with pytest.raises(infra.ConfigurationError, match="config should be an SmsConfig"):
            made(none)
    assert None not in (config.cache, config.storage, config.sms, config.verification)
