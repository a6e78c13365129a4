"""What ``create`` and ``update`` return is what the next read returns, with every type of field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings

import fakes
import infra
from tests.contract.databases import dialect_of
from tests.contract.test_keys import create
from tests.properties.samples import SAMPLE, VALUES, Sample, Samples
from tests.scale import scaled


def stored(samples: Samples, sample: Sample, change: Sample) -> list[str]:
    """Create a sample, change all of its fields and delete it; return what was stored."""
    key = sample.state, sample.day
    try:
        created = samples.create(sample)
        assert repr(samples.get(key)) == repr(created)
        changed = samples.update(replace(change, state=sample.state, day=sample.day))
        assert repr(samples.get(key)) == repr(changed)
        assert repr(samples.page().items) == repr([changed])
    finally:
        samples.delete(key)
    check_nothing_is_lost(sample, created)
    check_nothing_is_lost(change, changed)
    return [repr(created), repr(changed)]


def check_nothing_is_lost(given: Sample, found: Sample) -> None:
    """Without regard to time zones and forms of zero, which ``==`` does not see."""
    for name in [*VALUES][2:]:  # without the key
        assert getattr(found, name) == getattr(given, name), name


@pytest.mark.parametrize("name", ["mariadb", "mysql", "postgres", "postgres-18"])
def test_what_is_stored_is_read(database: Callable[[str], str], name: str) -> None:
    with infra.create_pool(infra.DatabaseConfig(url=database(name))) as pool:
        create(pool, Samples)
        assert fakes.compare(Samples, pool) == []
        fake = fakes.FakeDatabase(dialect_of(pool), [fakes.Table.of(Samples)])

        @settings(max_examples=scaled(1000))
        @given(SAMPLE, SAMPLE)
        def check(sample: Sample, change: Sample) -> None:
            on_fake, on_real = (stored(Samples.on(each), sample, change) for each in (fake, pool))
            assert on_fake == on_real

        check()
