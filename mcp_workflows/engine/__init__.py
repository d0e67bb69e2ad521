"""Deciding: what a run records and does next, as a pure function of its definition, its records and what happened.

``machine`` is the way in. No clock, no I/O, no async, no SQL and no randomness come in here.
"""
