"""Several hub processes on one PostgreSQL. No call belongs to a process: each transition is one transaction that locks
the call's row, so any of them may carry it out, and any of them may die at any moment."""
