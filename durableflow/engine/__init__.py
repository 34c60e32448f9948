"""The embedded task hub: one SQLite file, one owner process, nothing lost.

Decisions (``state``, ``transitions``) are pure.  Everything else carries them out on the hub loop;
only ``store`` speaks SQL, and only the threads of ``jobs`` call it.
"""
