"""Take orders and bill each one once, although a relay and workers stand between, and one dies.

An order and its event are stored in one transaction. A relay sends what was committed, and workers
write the bills. The first worker dies after it has written a bill, before it has said so. Its event
comes again, and has no second effect.

This runs on the fakes; with --real it uses the servers that the environment names (REDIS_URL or
EVENTS_URL, and DATABASE_URL after `python -m infra migrate`). Both print the same.
"""

import argparse
import sys
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs from a checkout too

import fakes
import infra

GROUP = "billing"


class OrderEvent(infra.Event):
    Placed: TypeAlias = "OrderPlaced"


@dataclass(frozen=True)
class OrderPlaced(OrderEvent):
    order_id: uuid.UUID


@dataclass(frozen=True)
class Order:
    customer: str
    cents: int
    id: uuid.UUID = infra.FILLED


@dataclass(frozen=True)
class Bill:
    order_id: uuid.UUID
    cents: int
    id: uuid.UUID = infra.FILLED


class Orders(infra.Repository[Order]):
    record, table, resource, sort_fields = Order, "example_orders", "order", ("customer",)
    lengths = {"customer": 80}


class Bills(infra.Repository[Bill]):
    record, table, resource, sort_fields = Bill, "example_bills", "bill", ("cents",)


PORTS = (Orders, Bills)


def main(services: infra.Infrastructure) -> None:
    database, stream = services.exchange, services.stream
    orders, bills = Orders.on(database), Bills.on(database)
    channel = f"orders-{uuid.uuid4().hex}"  # a new one, so that earlier runs do not count
    stream.declare(channel, GROUP)

    def place(customer: str, cents: int) -> None:
        with database.transaction():
            order = orders.create(Order(customer, cents))
            services.outbox.add(channel, OrderEvent.Placed(order.id), key=customer)
            if cents == 0:
                raise ValueError("nothing to pay")

    print("1. Orders and their events are stored together, or not at all.")
    place("Ada", 350)
    place("Bob", 200)
    place("Ada", 425)
    try:
        place("Eve", 0)
    except ValueError as error:
        print(f"   Eve: {error}")
    print(f"   Orders: {orders.count()}, events to send: {services.outbox.unsent()}")

    print("2. A relay sends what was committed.")
    print(f"   Sent: {services.outbox.relay(stream, once=True)}")
    print(f"   Sent again: {services.outbox.relay(stream, once=True)}")

    def write_bill(message: infra.Message) -> None:
        placed = message.deserialize(OrderEvent.Placed)
        with database.transaction():
            if services.inbox.first(GROUP, message.id):
                order = orders.get(placed.order_id)
                assert order is not None
                bills.create(Bill(order.id, order.cents))

    def write_bill_and_die(message: infra.Message) -> None:
        write_bill(message)
        raise SystemExit  # the process ends here, as if it were killed

    print("3. A worker dies after its first bill.")
    dying = stream.consume(channel, GROUP, write_bill_and_die, ordered=True, visibility=1)
    try:
        dying.join()
    except SystemExit:  # a fake has no threads
        dying.close()
    print(f"   Bills: {bills.count()}")

    print("4. Another one does the rest.")
    handled: set[str | None] = set()

    def work(message: infra.Message) -> None:
        write_bill(message)
        handled.add(message.id)

    with stream.consume(channel, GROUP, work, ordered=True, visibility=1) as worker:
        while len(handled) < 3:
            worker.join(0.05)  # on a fake: handle what is due
            services.clock.sleep(0.05)
    print(f"   Bills: {[bill.cents for bill in bills.select(sort='cents')]}")
    print(f"   Dead letters: {len(stream.dead_letters(channel, GROUP))}")


def create_tables(pool: infra.ConnectionPool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "example_orders.sql")
        file.write_text(f"-- migration 1 tables {pool.engine}\n" + infra.ddl(PORTS, pool.engine))
        infra.Migrator(pool, file).apply()


def drop_tables(pool: infra.ConnectionPool) -> None:
    for port in PORTS:
        pool.execute(f"DROP TABLE {port.table}")
    pool.execute("DELETE FROM schema_migrations WHERE source = 'example_orders'")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--real", action="store_true", help="use the servers that the environment names"
    )
    if parser.parse_args().real:
        with infra.Infrastructure.from_env() as real:
            pool = real.exchange
            assert isinstance(pool, infra.ConnectionPool)
            create_tables(pool)
            try:
                main(real)
            finally:
                drop_tables(pool)
    else:
        with fakes.FakeInfrastructure(fakes.RunningClock(), tables=PORTS) as fake:
            main(fake)
