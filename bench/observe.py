"""Measure what observers and circuit breakers cost a call, in CPU time of this thread.

- No observer: `CallPolicy.call` of a function that does nothing, against the same method without
  its lines for observers, slow calls and breakers. The difference is a percentage of what
  `RedisClient.get`, the cheapest call to a server, takes in all.
- An observer, a breaker: `CallPolicy.call` of that function with it, against one without it.
  OpenTelemetryObserver has an SDK that exports nothing.
- `RedisClient.get` with PrometheusObserver, against one without it, on one server. The same code
  takes two to three times as long there, because the processor's caches serve the server and the
  kernel, too.
"""

from __future__ import annotations

import ast
import gc
import inspect
import math
import statistics
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:] = [str(ROOT)] + [
    entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent
]

import prometheus_client
import redis
from opentelemetry.sdk.trace import TracerProvider

import infra
from bench.measure import Bench, Extra, Share, Work, arguments, one_core, timed
from tests import services

PERCENT = 1.0  # of a call without an observer
MICROSECONDS = 10.0  # for each call with PrometheusObserver


class WithoutHooks(ast.NodeTransformer):
    """Remove the statements of a function that ask for an observer or a breaker."""

    HOOKS = {"_observer", "breaker", "_periods"}  # noqa: RUF012

    def __init__(self) -> None:
        self.removed = 0

    def visit_If(self, node: ast.If) -> ast.stmt:
        return self.without(node, node.test)

    def visit_For(self, node: ast.For) -> ast.stmt:
        return self.without(node, node.iter)

    def without(self, node: ast.stmt, asked: ast.expr) -> ast.stmt:
        names = {getattr(part, "id", getattr(part, "attr", "")) for part in ast.walk(asked)}
        if not names & self.HOOKS:
            return node
        self.removed += 1
        return ast.Pass()


def unobserved() -> type[infra.CallPolicy]:
    """Return the class of policies whose ``call`` has no lines for observers and breakers."""
    hooks = WithoutHooks()
    tree = hooks.visit(ast.parse(textwrap.dedent(inspect.getsource(infra.CallPolicy.call))))
    assert hooks.removed == 3, "CallPolicy.call asks in other words: see WithoutHooks.HOOKS"
    namespace = dict(vars(infra))
    exec(compile(ast.fix_missing_locations(tree), "unobserved", "exec"), namespace)  # noqa: S102
    return type("Unobserved", (infra.CallPolicy,), {"call": namespace["call"]})


def caller(kind: type[infra.CallPolicy] = infra.CallPolicy, **options: Any) -> Work:
    """Return a call of a policy that does nothing."""
    policy = kind(
        "redis",
        translate=lambda error, attempt: None,
        repeatable=frozenset(),
        deadline=60.0,
        retries=3,
        clock=infra.SystemClock(),
        **options,
    )

    def nothing(attempt: infra.Attempt) -> None:
        pass

    return lambda: policy.call("get", nothing)


def process(number: int) -> int:
    """Return the id of the server's process, or 0 if the server runs elsewhere."""
    program = Path(f"/proc/{number}/comm")
    return number if program.is_file() and "redis" in program.read_text() else 0


def with_none(bench: Bench, get: Work, server: int) -> Share:
    """Return the percentage of ``get`` that a policy without an observer takes to ask for one."""
    plain, bare, shares = caller(), caller(unobserved()), []
    gc.disable()
    with one_core(server):
        for _ in range(bench.rounds(41)):
            ours, theirs, whole = (
                timed(work, number, time.thread_time) / number
                for work, number in ((plain, 20_000), (bare, 20_000), (get, 1000))
            )
            shares.append((ours - theirs) / whole * 100)
    gc.enable()
    middle, low, high = statistics.median(shares), min(shares), max(shares)
    return Share("no observer", middle, low, high, PERCENT)


def with_each(bench: Bench, prometheus: infra.Observer) -> list[Extra]:
    """Return the microseconds that observers of each kind and a breaker add to a call."""
    tracing = infra.OpenTelemetryObserver(TracerProvider())
    kinds: dict[str, tuple[Work, float]] = {
        "a function": (caller(observer=lambda call: None), math.inf),
        "PrometheusObserver": (caller(observer=prometheus), MICROSECONDS),
        "OpenTelemetryObserver": (caller(observer=tracing), math.inf),
        "CircuitBreaker": (caller(breaker=infra.CircuitBreaker()), math.inf),
    }
    plain = caller()
    return [
        bench.compare_cpu(name, work, plain, limit=limit, rounds=40, number=5000)
        for name, (work, limit) in kinds.items()
    ]


def main() -> int:
    bench = Bench(short=arguments(__doc__).parse_args().short)
    prometheus = infra.PrometheusObserver(prometheus_client.CollectorRegistry())
    try:
        config = infra.CacheConfig(url=services.shared("redis"))
        with (
            infra.RedisClient(config) as plain,
            infra.RedisClient(config, observer=prometheus) as observed,
            redis.Redis.from_url(config.url) as bare,
        ):
            plain.set("key", "value" * 10)
            server = process(int(bare.info("server")["process_id"]))
            bench.report_shares(
                f"a policy, percent of a get on {plain.health_check().server}",
                [with_none(bench, lambda: plain.get("key"), server)],
            )
            bench.report_extras(
                "a call of a policy, microseconds more than without",
                with_each(bench, prometheus),
            )
            of_get = bench.compare_cpu(
                "PrometheusObserver",
                lambda: observed.get("key"),
                lambda: plain.get("key"),
                limit=MICROSECONDS,
                rounds=40,
                number=1000,
                server=server,
            )
            bench.report_extras("RedisClient.get, microseconds more than without", [of_get])
        return int(bench.missed)
    finally:
        services.stop_shared()


if __name__ == "__main__":
    sys.exit(main())
