"""PrometheusObserver, on the fakes: what prometheus_client exports, read by its own parsers."""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
from prometheus_client.openmetrics import exposition, parser
from prometheus_client.parser import text_string_to_metric_families

import fakes
import infra

ROOT = Path(__file__).resolve().parent.parent.parent
NOBODY = "redis://127.0.0.1:1"


@pytest.fixture
def registry() -> prometheus_client.CollectorRegistry:
    return prometheus_client.CollectorRegistry()


@pytest.fixture
def observer(registry: prometheus_client.CollectorRegistry) -> infra.PrometheusObserver:
    return infra.PrometheusObserver(registry)


def written(name: str, labels: Mapping[str, str]) -> str:
    return f"{name}{{{', '.join(labels.values())}}}" if labels else name


def exported(
    registry: prometheus_client.CollectorRegistry, beginning: str = "infra_"
) -> dict[str, float]:
    """Return the samples whose name begins so, by their name and labels in alphabetical order."""
    text = prometheus_client.generate_latest(registry).decode()
    return {
        written(sample.name, dict(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith(beginning) and not sample.name.endswith("_created")
    }


def test_calls_by_service_operation_and_outcome(
    registry: prometheus_client.CollectorRegistry, observer: infra.PrometheusObserver
) -> None:
    with fakes.FakeInfrastructure(observer=observer) as services:
        services.redis.get("a")
        services.redis.get("b")
        services.storage.create_bucket("bucket")
        with pytest.raises(infra.NotFoundError):
            services.storage.download("bucket", "k")
        services.exchange.health_check()
        services.sms.send_sms("+14155550100", "m")
    assert exported(registry, "infra_calls_total") == {
        "infra_calls_total{get, ok, redis}": 2,
        "infra_calls_total{create_bucket, ok, storage}": 1,
        "infra_calls_total{download, NotFoundError, storage}": 1,
        "infra_calls_total{health_check, ok, postgres}": 1,
        "infra_calls_total{send_sms, ok, sms}": 1,
    }


class OtherHistogram(prometheus_client.Histogram):
    """A histogram of a version of prometheus_client that stores its values elsewhere."""

    def labels(self, *values: Any, **named: Any) -> Any:
        return types.SimpleNamespace(observe=super().labels(*values, **named).observe)


@pytest.mark.parametrize("histogram", [prometheus_client.Histogram, OtherHistogram])
def test_the_seconds_of_calls(
    monkeypatch: pytest.MonkeyPatch,
    registry: prometheus_client.CollectorRegistry,
    histogram: type[prometheus_client.Histogram],
) -> None:
    monkeypatch.setattr(prometheus_client, "Histogram", histogram)
    observer = infra.PrometheusObserver(registry)
    for seconds, outcome in ((0.0005, "ok"), (0.05, "ok"), (0.25, "TimeoutError"), (20.0, "ok")):
        observer.call(infra.Call("mysql", "run", outcome, seconds, 1))
    assert exported(registry, "infra_calls") == {
        "infra_calls_total{run, TimeoutError, mysql}": 1,
        "infra_calls_total{run, ok, mysql}": 3,
    }
    assert exported(registry, "infra_call_seconds") == {
        "infra_call_seconds_bucket{0.001, run, mysql}": 1,
        "infra_call_seconds_bucket{0.005, run, mysql}": 1,
        "infra_call_seconds_bucket{0.01, run, mysql}": 1,
        "infra_call_seconds_bucket{0.05, run, mysql}": 2,
        "infra_call_seconds_bucket{0.1, run, mysql}": 2,
        "infra_call_seconds_bucket{0.5, run, mysql}": 3,
        "infra_call_seconds_bucket{1.0, run, mysql}": 3,
        "infra_call_seconds_bucket{5.0, run, mysql}": 3,
        "infra_call_seconds_bucket{10.0, run, mysql}": 3,
        "infra_call_seconds_bucket{+Inf, run, mysql}": 4,
        "infra_call_seconds_count{run, mysql}": 4,
        "infra_call_seconds_sum{run, mysql}": 20.3005,
    }


def counts(registry: prometheus_client.CollectorRegistry) -> dict[str, float]:
    """Return the samples of counters, those of calls apart."""
    found = exported(registry)
    return {
        name: value
        for name, value in found.items()
        if "_total" in name and not name.startswith("infra_calls")
    }


def test_hits_misses_and_errors_of_handlers(
    registry: prometheus_client.CollectorRegistry, observer: infra.PrometheusObserver
) -> None:
    def fail(*_: Any) -> None:
        raise ValueError

    with fakes.FakeInfrastructure(observer=observer) as services:
        services.cache.set("a", 1)
        services.cache.get_many(["a", "b", "c"])
        with services.redis.listen(fail) as listener:
            listener.subscribe("d")
            services.redis.publish("d", "m")
        services.bus.subscribe("c", print)
        services.redis.server.drop_connections()
    assert counts(registry) == {
        "infra_cache_hits_total{cache}": 1,
        "infra_cache_misses_total{cache}": 2,
        "infra_handler_errors_total{redis}": 1,
        "infra_reconnects_total{redis}": 1,
    }


def test_moved_rows(
    registry: prometheus_client.CollectorRegistry,
    observer: infra.PrometheusObserver,
    tmp_path: Path,
) -> None:
    books = fakes.Table("books", {"id": fakes.Column(int)})
    with fakes.FakeDatabase("postgres", [books], observer=observer) as database:
        infra.RowMove(
            "books",
            source=infra.IterableSource([{"id": number} for number in range(30)]),
            target=infra.TableTarget(database, "books"),
            rejects=tmp_path / "rejects",
            batch=7,
        ).run()
    assert counts(registry) == {"infra_rows_moved_total{postgres}": 30}


@pytest.mark.real  # it needs redis-py
def test_retries(
    registry: prometheus_client.CollectorRegistry, observer: infra.PrometheusObserver
) -> None:
    config = infra.CacheConfig(url=NOBODY, retries=2)
    with (
        infra.RedisClient(config, clock=fakes.FakeClock(), observer=observer) as client,
        pytest.raises(infra.ConnectionError),
    ):
        client.get("k")
    assert exported(registry, "infra_calls_total") == {
        "infra_calls_total{get, ConnectionError, redis}": 3
    }
    assert counts(registry) == {"infra_retries_total{redis}": 2}


def test_other_counts_are_left_out(
    registry: prometheus_client.CollectorRegistry, observer: infra.PrometheusObserver
) -> None:
    observer.count("mine", "retries", 3)
    observer.count("mine", "orders of +14155550100")
    assert exported(registry) == {"infra_retries_total{mine}": 3}


@pytest.mark.real  # it needs redis-py
def test_pools_and_breakers_while_they_live(
    registry: prometheus_client.CollectorRegistry, observer: infra.PrometheusObserver
) -> None:
    config = infra.CacheConfig(url=NOBODY, retries=0, breaker_failures=1)
    clients = [infra.RedisClient(config, observer=observer) for _ in range(2)]
    with pytest.raises(infra.ConnectionError):
        clients[0].get("k")
    both = {
        "infra_pool_max_connections{redis}": 10,
        "infra_pool_open{redis}": 0,
        "infra_pool_in_use{redis}": 0,
        "infra_pool_idle{redis}": 0,
        "infra_pool_waiting{redis}": 0,
        "infra_pool_longest_wait_seconds{redis}": 0,
        "infra_pool_opened{redis}": 0,
        "infra_pool_closed{redis}": 0,
        "infra_pool_timed_out{redis}": 0,
    }
    assert exported(registry, "infra_pool") == both
    assert exported(registry, "infra_breaker") == {
        "infra_breaker_closed{redis}": 1,
        "infra_breaker_open{redis}": 1,
        "infra_breaker_half_open{redis}": 0,
    }
    clients[0].close()
    assert exported(registry, "infra_pool") == both
    clients.pop(0)
    gc.collect()
    assert exported(registry, "infra_pool") == {**both, "infra_pool_max_connections{redis}": 5}
    assert exported(registry, "infra_breaker") == {
        "infra_breaker_closed{redis}": 1,
        "infra_breaker_open{redis}": 0,
        "infra_breaker_half_open{redis}": 0,
    }
    clients.pop().close()
    gc.collect()
    assert exported(registry, "infra_pool") == exported(registry, "infra_breaker") == {}


def test_pools_of_the_fakes(
    registry: prometheus_client.CollectorRegistry, observer: infra.PrometheusObserver
) -> None:
    with fakes.FakeInfrastructure(observer=observer) as services:
        with services.exchange.transaction(), services.accounts.transaction():
            found = exported(registry, "infra_pool")
            assert found["infra_pool_in_use{mysql}"] == found["infra_pool_in_use{postgres}"] == 1
        found = exported(registry, "infra_pool")
        assert found["infra_pool_in_use{mysql}"] == found["infra_pool_in_use{postgres}"] == 0
        assert "infra_pool_max_connections{mysql}" not in found  # a fake has no limit


def test_sources_of_your_own(
    registry: prometheus_client.CollectorRegistry, observer: infra.PrometheusObserver
) -> None:
    def first() -> Mapping[str, float]:
        return {"in_use": 2, "longest_wait": 0.5, "secret of +14155550100": 1}

    def second() -> Mapping[str, float]:
        return {"in_use": 3, "longest_wait": 0.25}

    for source in (first, second):
        observer.watch("my.own.pool", source)
    observer.watch("mine.breaker", lambda: {"open": 1})
    observer.watch("mine.queue", first)
    observer.watch("mine", first)
    assert exported(registry) == {
        "infra_pool_in_use{my.own}": 5,
        "infra_pool_longest_wait_seconds{my.own}": 0.5,
        "infra_breaker_open{mine}": 1,
    }


def test_a_source_that_has_nothing_more_is_forgotten(
    registry: prometheus_client.CollectorRegistry, observer: infra.PrometheusObserver
) -> None:
    answers: list[Mapping[str, float]] = [{"open": 1}, {}]
    observer.watch("mine.pool", lambda: answers.pop(0))
    assert exported(registry) == {"infra_pool_open{mine}": 1}
    assert exported(registry) == {}
    assert exported(registry) == {}  # it is not asked again
    assert answers == []


def test_observers_of_one_registry_share_the_metrics(
    registry: prometheus_client.CollectorRegistry, observer: infra.PrometheusObserver
) -> None:
    others = prometheus_client.CollectorRegistry()
    call = infra.Call("redis", "get", "ok", 0.1, 1)
    for each in (
        observer,
        infra.PrometheusObserver(registry),
        infra.PrometheusObserver(registry, "shop"),
        infra.PrometheusObserver(others),
    ):
        each.call(call)
    assert exported(registry, "infra_calls") == {"infra_calls_total{get, ok, redis}": 2}
    assert exported(registry, "shop_calls") == {"shop_calls_total{get, ok, redis}": 1}
    assert exported(others, "infra_calls") == {"infra_calls_total{get, ok, redis}": 1}


def test_what_two_observers_watch_counts_once(
    registry: prometheus_client.CollectorRegistry, observer: infra.PrometheusObserver
) -> None:
    both = [observer, infra.PrometheusObserver(registry)]
    with fakes.FakeDatabase("postgres", observer=both) as database, database.transaction():
        assert exported(registry)["infra_pool_in_use{postgres}"] == 1


def at_once(work: Callable[[], object]) -> None:
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_threads_share_the_metrics(registry: prometheus_client.CollectorRegistry) -> None:
    begin = threading.Barrier(8)

    def work() -> None:
        begin.wait()
        mine = infra.PrometheusObserver(registry)
        for _ in range(100):
            mine.call(infra.Call("redis", "get", "ok", 0.1, 1))
            mine.count("redis", "retries")

    at_once(work)
    found = exported(registry)
    assert found["infra_calls_total{get, ok, redis}"] == 800
    assert found["infra_call_seconds_count{get, redis}"] == 800
    assert found["infra_retries_total{redis}"] == 800


@pytest.mark.parametrize("name", ["infra_calls", "infra_retries", "infra_pool_in_use"])
def test_a_registry_with_metrics_of_another_program(
    registry: prometheus_client.CollectorRegistry, name: str
) -> None:
    theirs = prometheus_client.Counter(name, "theirs", registry=registry)
    with pytest.raises(infra.ConfigurationError, match="other metrics called infra_…: use another"):
        infra.PrometheusObserver(registry)
    theirs.inc()
    assert exported(registry) == {f"{name}_total": 1}  # it has none of ours
    infra.PrometheusObserver(registry, "mine").count("redis", "retries")
    registry.unregister(theirs)
    infra.PrometheusObserver(registry)


def test_a_registry_with_metrics_of_another_version(
    registry: prometheus_client.CollectorRegistry,
    observer: infra.PrometheusObserver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(infra, "__version__", "0.0.9")
    with pytest.raises(infra.ConfigurationError, match="use another namespace"):
        infra.PrometheusObserver(registry)


@pytest.mark.parametrize(
    "namespace", ["", "1st", "a-b", "a b", "a\n", "ä", "a.b", "a{b}", "a" * 64, None, 5, b"a", str]
)
def test_what_is_no_namespace(
    registry: prometheus_client.CollectorRegistry, namespace: Any
) -> None:
    with pytest.raises(infra.ConfigurationError, match="namespace should be"):
        infra.PrometheusObserver(registry, namespace)
    assert exported(registry, "") == {}


@pytest.mark.parametrize(
    "registry", ["", 0, 5, prometheus_client, prometheus_client.CollectorRegistry]
)
def test_what_is_no_registry(registry: Any) -> None:
    with pytest.raises(infra.ConfigurationError, match="registry should be"):
        infra.PrometheusObserver(registry)


def test_the_default_registry() -> None:
    infra.PrometheusObserver(namespace="by_default").count("redis", "retries")
    found = exported(prometheus_client.REGISTRY, "by_default_")
    assert found == {"by_default_retries_total{redis}": 1}


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(infra.ConfigurationError) as caught:
        infra.PrometheusObserver()
    assert str(caught.value) == (
        "PrometheusObserver needs a package that is not installed: "
        "pip install 'prometheus_client>=0.20'"
    )


def test_openmetrics_and_a_part_of_the_metrics(
    registry: prometheus_client.CollectorRegistry, observer: infra.PrometheusObserver
) -> None:
    observer.call(infra.Call("redis", "get", "ok", 0.1, 1))
    observer.watch("redis.pool", lambda: {"open": 1, "longest_wait": 1.5})
    writer: Any = exposition  # both are untyped
    reader: Any = parser
    text = writer.generate_latest(registry).decode()
    kinds = {family.name: family.type for family in reader.text_string_to_metric_families(text)}
    assert kinds == {
        "infra_calls": "counter",
        "infra_call_seconds": "histogram",
        "infra_retries": "counter",
        "infra_cache_hits": "counter",
        "infra_cache_misses": "counter",
        "infra_reconnects": "counter",
        "infra_handler_errors": "counter",
        "infra_rows_moved": "counter",
        "infra_pool_max_connections": "gauge",
        "infra_pool_open": "gauge",
        "infra_pool_in_use": "gauge",
        "infra_pool_idle": "gauge",
        "infra_pool_waiting": "gauge",
        "infra_pool_longest_wait_seconds": "gauge",
        "infra_pool_opened": "gauge",
        "infra_pool_closed": "gauge",
        "infra_pool_timed_out": "gauge",
        "infra_breaker_closed": "gauge",
        "infra_breaker_open": "gauge",
        "infra_breaker_half_open": "gauge",
    }
    part: Any = registry.restricted_registry(["infra_pool_open"])
    assert exported(part) == {"infra_pool_open{redis}": 1}


def test_every_metric_is_documented(
    registry: prometheus_client.CollectorRegistry, observer: infra.PrometheusObserver
) -> None:
    page = (ROOT / "docs" / "operation.md").read_text(encoding="utf-8")
    section = page[page.index("## Metrics") : page.index("## Circuit breakers")]
    text = prometheus_client.generate_latest(registry).decode()
    named = {*re.findall(r"`(infra_\w+)`", section)}
    assert named == {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in text_string_to_metric_families(text)
    }


def test_labels_hold_nothing_of_the_caller(
    registry: prometheus_client.CollectorRegistry, observer: infra.PrometheusObserver
) -> None:
    with fakes.FakeInfrastructure(observer=observer) as services:
        services.cache.set("marked-key", "marked-value")
        services.verification.send_code(services.sms, "+14155550100")
        services.storage.create_bucket("marked-bucket")
        services.storage.upload("marked-bucket", "marked-object", b"marked-value")
        user = services.phone_users.create_for_phone("+14155550100")
        token = services.tokens.issue(user.id, ttl=60).token
        services.bus.publish("marked-channel", infra.SystemEvent.CacheCleared("marked-event"))
        secrets = ["marked", "4155550100", str(user.id), token, services.sms.outbox[-1].code or ""]
        text = prometheus_client.generate_latest(registry).decode()
    assert 'operation="issue"' in text
    assert [each for each in secrets if each in text] == []


# --- processes


def run(program: str, **env: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


RELOAD = """
import importlib
import prometheus_client
import infra

def count():
    infra.PrometheusObserver().count("redis", "retries")

count()
before = infra.PrometheusObserver
importlib.reload(infra)
count()
print(before is infra.PrometheusObserver)
print(prometheus_client.REGISTRY.get_sample_value("infra_retries_total", {"service": "redis"}))
"""


def test_a_reload_goes_on_with_the_metrics() -> None:
    assert run(RELOAD) == ["False", "2.0"]


FORK = """
import os
import prometheus_client
from prometheus_client import multiprocess
import fakes, infra

observer = infra.PrometheusObserver()
with fakes.FakeInfrastructure(observer=observer) as services:
    services.redis.get("k")
    if child := os.fork():
        os.waitpid(child, 0)
    else:
        services.redis.get("k")
        services.redis.get("k")
        os._exit(0)
    registry = prometheus_client.CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)
    labels = {"service": "redis", "operation": "get"}
    for each in (registry, prometheus_client.REGISTRY):
        print(each.get_sample_value("infra_calls_total", {**labels, "outcome": "ok"}))
        print(each.get_sample_value("infra_call_seconds_count", labels))
        print(each.get_sample_value("infra_pool_in_use", {"service": "redis"}))
"""


def test_forks_add_up_in_the_multiprocess_mode(tmp_path: Path) -> None:
    printed = run(FORK, PROMETHEUS_MULTIPROC_DIR=str(tmp_path))
    assert printed == ["3.0", "3.0", "None", "1.0", "1.0", "0.0"]


def test_a_fork_without_it_counts_for_itself() -> None:
    program = FORK.replace("multiprocess.MultiProcessCollector(registry)", "pass")
    assert run(program) == ["None", "None", "None", "1.0", "1.0", "0.0"]
