"""Mutants of health reports, and of the options of ``infra health`` and ``infra migrate``."""

from __future__ import annotations

from tests.mutants.edits import Always, Drop, Edit, Never, Replace, Text
from tests.mutants.suite import INFRA, Mutant, OnFakes, OnServers

REPORT = ("unit/test_health.py",)
SERVERS = ("faults/test_health.py",)
COMMAND = "unit/test_command_line.py"


def report(name: str, edit: Edit) -> Mutant:
    return OnFakes(f"health: {name}", INFRA, edit, REPORT)


def servers(name: str, edit: Edit, *tests: str) -> Mutant:
    return OnServers(
        f"health: {name}", INFRA, edit, tuple(f"{SERVERS[0]}::{each}" for each in tests)
    )


def command(name: str, edit: Edit, *tests: str) -> Mutant:
    return OnServers(f"command: {name}", INFRA, edit, tuple(f"{COMMAND}::{each}" for each in tests))


MUTANTS: list[Mutant] = [
    report("one that is down leaves the report up", Replace("HealthReport.up", "all", "any")),
    report("the document lacks the state of all", Text("HealthReport.as_dict", "up", "all_up")),
    report(
        "a wrong deadline is taken",
        Replace("_SECONDS", "_seconds()", "_seconds('', -9, 10**10)"),
    ),
    report(
        "it waits for a silent service",
        Replace(
            "Infrastructure.health",
            "thread.join(max(0.0, until - SystemClock.monotonic()))",
            "thread.join(5)",
        ),
    ),
    report(
        "a silent service is left out",
        Replace(
            "Infrastructure.health",
            "answers[0] if answers else self._state(part, late)",
            "answers[0] if answers else ServiceHealth(True)",
        ),
    ),
    report(
        "a silent service is asked by every call",
        Always(
            "Infrastructure._start_check",
            "part not in self._checks or not self._checks[part][0].is_alive()",
        ),
    ),
    report(
        "a service is asked once only",
        Replace(
            "Infrastructure._start_check",
            "part not in self._checks or not self._checks[part][0].is_alive()",
            "part not in self._checks",
        ),
    ),
    report(
        "a closed bundle is asked",
        Drop("Infrastructure._ask", "self._check_open(part)"),
    ),
    report(
        "the text of a foreign exception is quoted",
        Replace("_reason", "isinstance(error, InfrastructureError)", "True"),
    ),
    report(
        "the pool of one that is down is not shown",
        Replace(
            "Infrastructure._state",
            "isinstance(service, (Database, KeyValueClient))",
            "isinstance(service, (Database, KeyValueClient)) and error is None",
        ),
    ),
    report(
        "what has a method stats has a pool",
        Replace(
            "Infrastructure._state",
            "isinstance(service, (Database, KeyValueClient))",
            "hasattr(service, 'stats')",
        ),
    ),
    report(
        "a service that is not set is asked",
        Replace("Infrastructure._names_to_ask", "is_set.get(name, True) or part in built", "True"),
    ),
    report(
        "a service that is built is not asked",
        Replace(
            "Infrastructure._names_to_ask",
            "is_set.get(name, True) or part in built",
            "is_set.get(name, True)",
        ),
    ),
    report(
        "a service of two names is asked twice",
        Replace(
            "Infrastructure._names_to_ask",
            "id(service) not in seen and hasattr(service, 'health_check')",
            "hasattr(service, 'health_check')",
        ),
    ),
    report(
        "services of one's own are not asked",
        Drop("Infrastructure._names_to_ask", "asked[part] = part"),
    ),
    OnServers(
        "health: REDIS_URL with the default URL does not count",
        INFRA,
        Replace(
            "Infrastructure._names_to_ask",
            "self._has_redis or config.cache != CacheConfig()",
            "config.cache != CacheConfig()",
        ),
        (f"{REPORT[0]}::test_only_what_is_set_is_asked",),
    ),
    report(
        "settings of Redis do not count",
        Replace(
            "Infrastructure._names_to_ask",
            "self._has_redis or config.cache != CacheConfig()",
            "self._has_redis",
        ),
    ),
    servers(
        "applied migrations are pending",
        Replace("_unsettled", "each.state not in ('applied', 'unknown')", "True"),
        "test_pending_migrations",
    ),
    servers(
        "an edited migration is settled",
        Replace("_unsettled", "('applied', 'unknown')", "('applied', 'unknown', 'edited')"),
        "test_pending_migrations",
    ),
    servers(
        "a dirty migration is settled",
        Replace("_unsettled", "('applied', 'unknown')", "('applied', 'unknown', 'dirty')"),
        "test_a_dirty_migration",
    ),
    servers(
        "another tool's history is an outage",
        Replace("Infrastructure._pending", "return None", "raise", nth=2),
        "test_a_history_of_another_tool",
    ),
    servers(
        "no files are the library's",
        Replace(
            "Infrastructure._pending", "_schema().exists() if paths is None else paths", "True"
        ),
        "test_pending_migrations",
    ),
    command(
        "--wait asks once",
        Never(
            "_awaited_health",
            "_health_code(report) == 1 and (left := (until - time.monotonic())) > 0",
        ),
        "test_waiting_ends_as_soon_as_all_are_up",
    ),
    command(
        "--wait waits for a driver",
        Replace("_awaited_health", "_health_code(report) == 1", "_health_code(report) > 0"),
        "test_health_as_json_without_a_driver",
    ),
    command(
        "SIGTERM is left to the system",
        Replace(
            "_health",
            "signal.signal(signal.SIGTERM, signal.default_int_handler)",
            "signal.getsignal(signal.SIGTERM)",
        ),
        "test_a_signal_ends_the_wait",
    ),
    command(
        "SIGTERM's handler stays",
        Drop("_health", "end.callback(signal.signal, signal.SIGTERM, usual)"),
        "test_waiting_leaves_signals_as_they_were",
    ),
    command(
        "a service that is down exits with 0",
        Replace("_health_code", "int(not report.up)", "0"),
        "test_health_as_json_of_one_that_is_down",
    ),
    command(
        "a missing driver exits with 1",
        Replace("_health_code", "2", "1"),
        "test_health_as_json_without_a_driver",
    ),
    command(
        "JSON is followed by lines",
        Replace(
            "_health",
            "_encode(report.as_dict()) if arguments.json else '\\n'.join(lines)",
            "'\\n'.join([_encode(report.as_dict()) if arguments.json else '', *lines])",
        ),
        "test_health_as_json",
    ),
    command(
        "a wrong file is told when the database is up",
        Drop("_health", "read_migrations(file, 'mysql')"),
        "test_health_with_a_wrong_file",
    ),
    command(
        "the library's migrations are counted for a file",
        Drop("_health", "services.migrations = arguments.files or None"),
        "test_health_shows_what_is_pending",
    ),
    command(
        "--check passes what is pending",
        Replace(
            "_show_status",
            "arguments.check or each.state in ('dirty', 'edited')",
            "each.state in ('dirty', 'edited')",
        ),
        "test_check",
    ),
    command(
        "--status fails for what is pending",
        Replace("_show_status", "arguments.check or each.state in ('dirty', 'edited')", "True"),
        "test_migrate_as_json",
    ),
    command(
        "--check shows what is applied",
        Replace(
            "_show_status", "_unsettled(statuses) if arguments.check else statuses", "statuses"
        ),
        "test_check_counts_the_files_that_are_named",
    ),
    command(
        "--json is taken by all",
        Never("_migrate", "arguments.json and (not shows)"),
        "test_json_of_other_options_is_refused",
    ),
    OnFakes(
        "migrate: --new takes the first of two files",
        INFRA,
        Replace("_add_migration", "len(arguments.files) != 1", "not arguments.files"),
        (f"{COMMAND}::test_new_needs_one_file",),
    ),
    OnFakes(
        "migrate: --new takes any name",
        INFRA,
        Replace(
            "_add_migration",
            "name in [each.name for each in known] or not all(map(_MARKER.fullmatch, markers))",
            "name in [each.name for each in known]",
        ),
        (f"{COMMAND}::test_new_refuses_a_wrong_name",),
    ),
    OnFakes(
        "migrate: --new takes a name twice",
        INFRA,
        Replace(
            "_add_migration",
            "name in [each.name for each in known] or not all(map(_MARKER.fullmatch, markers))",
            "not all(map(_MARKER.fullmatch, markers))",
        ),
        (f"{COMMAND}::test_new_refuses_a_name_that_the_file_has",),
    ),
    OnFakes(
        "migrate: --new overwrites",
        INFRA,
        Text("_add_migration", "ab", "wb"),
        (f"{COMMAND}::test_new_adds_a_block_for_each_engine",),
    ),
    OnFakes(
        "migrate: --new leaves half a block",
        INFRA,
        Drop("_add_migration", "file.truncate(size)"),
        (f"{COMMAND}::test_new_on_a_full_disk_leaves_the_file_as_it_was",),
    ),
    OnFakes(
        "migrate: --new numbers by count",
        INFRA,
        Replace(
            "_add_migration",
            "max((each.number for each in known), default=0) + 1",
            "len(known) + 1",
        ),
        (f"{COMMAND}::test_new_keeps_the_file_as_it_is",),
    ),
    OnFakes(
        "migrate: --new writes for every engine",
        INFRA,
        Replace("_add_migration", "[engine for engine in found if found[engine]]", "[*found]"),
        (f"{COMMAND}::test_new_keeps_the_file_as_it_is",),
    ),
    OnFakes(
        "migrate: --new ends lines its own way",
        INFRA,
        Text("_add_migration", "\r\n", "\n", nth=1),
        (f"{COMMAND}::test_new_keeps_the_file_as_it_is",),
    ),
]
