"""``python -m bench [--only NAME] [--quick]``: how fast OpenV is, against baselines that were taken in the same run.

A measurement is a module with ``MEASUREMENT = Measurement(name, title, how, run)``, listed in ``registry.py``.
``run(world)`` is given a ``World`` (``world.py``: servers of its own, real processes, users with keys) and returns
``Figure``s (``figures.py``): our numbers round by round, the baseline's of the same rounds, and an ``Aim`` if there is
one. ``rounds.py`` runs the two by turns, because a shared machine has moods; ``driver.py`` puts a load or a baseline
into a process of its own that is told what to do line by line; ``loads.py`` is a load of so many clients, ``bare.py``
has the Kafka clients of the baselines, ``spans.py`` lets a baseline read the very records that we did, ``cpu.py``
meters a process, which a busy machine disturbs less than the clock.
``world.quick`` asks for the smallest size that still runs everything: a few seconds, servers included.

``report.py`` writes ``docs/benchmarks.md`` from ``bench/results.json``, which keeps every round of every figure;
``--only`` replaces one section of both, ``--quick`` writes neither.
"""
