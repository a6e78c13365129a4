"""Mutants: each breaks one rule of the code, and the tests must notice it.

    python -m tests.mutants                  all of them, two at a time
    python -m tests.mutants cache "bus: a"   those whose names begin so
    python -m tests.mutants --fake           those that tests without a server must notice
    python -m tests.mutants --check          only whether each still applies; runs no test

A mutant is one entry in a module beside this one; `LISTS` in `__main__.py` names the modules::

    OnFakes(
        "bus: NaN is read",
        INFRA,
        Replace("_no_constant", "raise ValueError", "return 0.0"),
        EVENTS,
    )

- ``OnFakes``: the tests that need no server must notice it; servers are not asked. It edits
  fakes.py, or code of infra.py that the fakes run too. ``OnServers``: it edits code that only the
  real adapters run.
- The name begins with an area, which prefixes on the command line choose.
- The file is ``FAKES`` or ``INFRA``.
- The edit names a function (``RedisClient._increment``, ``_folded``, ``Database.run.attempt``), a
  class, or an assignment (``_REDIS_ERRORS``, ``UserRepository.visible``), and changes its syntax
  tree. So layout, comments, quotes, and code elsewhere do not matter. `edits.py` has the kinds:
  ``Replace``, ``Drop``, ``Swap``, ``Never``, ``Always``, ``Text``. The pattern is Python and must
  be there exactly once; ``nth=2`` chooses among several, in the order of the source.
- The tests are pytest's node ids below tests/, the fewest that show it: ``("unit/test_fakes.py",
  "contract/test_database.py::TestMariaDB::test_deadlock")``.

A mutant changes an answer or a stored value. The run refuses a mutant that crashes (NameError,
TypeError, … in the edited file), that cannot be imported, that breaks a fixture, that hangs, or
whose tests do not run. It first proves that the tests pass on unchanged code that is written from
its syntax trees, as the mutants' code is. It exits 1 if any of this fails.
"""
