"""Calls: who has one, whom it rings, who is there; doors, which are opened in and outside of calls."""
