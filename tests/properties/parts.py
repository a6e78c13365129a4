"""A record with an id that the server makes, unique keys, a check and a version."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal
from typing import ClassVar

import infra

NOON = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Part:
    name: str
    stock: int = 0
    code: str | None = None
    price: Decimal = Decimal("0.00")
    revision: int = infra.FILLED
    id: int = infra.FILLED
    updated_at: datetime = infra.FILLED


class Parts(infra.Repository[Part]):
    """Some columns have other names than their fields."""

    record, table, resource, version = Part, "parts", "part", "revision"
    lengths: ClassVar = {"name": 5, "code": 5}
    scales: ClassVar = {"price": (6, 2)}
    column_names: ClassVar = {"revision": "number", "code": "order"}
    unique = (("name",), ("code",))
    checks: ClassVar = {
        "parts_stock_check": infra.Check("stock >= 0", lambda row: row["stock"] >= 0)
    }
    filter_fields: ClassVar = ("name", "stock", "code", "price", "revision", "id", "updated_at")
    sort_fields: ClassVar = filter_fields
