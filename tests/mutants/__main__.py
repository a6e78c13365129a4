"""`make mutants`; the package's docstring says how to use it and how to write one."""

from __future__ import annotations

import sys

from tests.mutants import (
    audit,
    bundles,
    caches,
    columns,
    conditions,
    counters,
    databases,
    health,
    keys,
    lies,
    many,
    moves,
    objects,
    operation,
    others,
    regions,
    streams,
    suite,
)

LISTS = (
    databases.MUTANTS,
    columns.MUTANTS,
    caches.MUTANTS,
    others.MUTANTS,
    moves.MUTANTS,
    objects.MUTANTS,
    lies.MUTANTS,
    bundles.MUTANTS,
    keys.MUTANTS,
    conditions.MUTANTS,
    many.MUTANTS,
    counters.MUTANTS,
    operation.MUTANTS,
    health.MUTANTS,
    streams.MUTANTS,
    audit.MUTANTS,
    regions.MUTANTS,
)
MUTANTS: list[suite.Mutant] = [mutant for mutants in LISTS for mutant in mutants]


def main(arguments: list[str]) -> int:
    prefixes = tuple(each for each in arguments if not each.startswith("--")) or ("",)
    chosen = [mutant for mutant in MUTANTS if mutant.name.startswith(prefixes)]
    if "--fake" in arguments:
        chosen = [mutant for mutant in chosen if isinstance(mutant, suite.OnFakes)]
    if unknown := {each for each in arguments if each.startswith("--")} - {"--fake", "--check"}:
        sys.exit(f"no such option: {', '.join(unknown)}")
    if not chosen:
        sys.exit("no mutant has a name that begins so")
    if "--check" not in arguments:
        return suite.run(chosen)
    wrong = suite.check(chosen)
    print(*wrong, f"{len(chosen) - len(wrong)} of {len(chosen)} mutants apply", sep="\n")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
