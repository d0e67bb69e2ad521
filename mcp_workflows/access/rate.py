"""How often one actor may call: a bucket per actor, refilled steadily, that holds a minute's calls."""

from __future__ import annotations

from dataclasses import dataclass

_MOST_BUCKETS = 10_000
"""Kept in memory. Beyond that those are dropped that have filled up again: a new one is just as full."""


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class Rate:
    """``per_minute`` calls of each actor, all of which may come at once."""

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self._buckets: dict[str, _Bucket] = {}

    def wait(self, actor: str, now: float) -> float:
        """Seconds until ``actor`` may call again; 0: this call is within its rate, and counted. ``now``: any steady clock."""
        bucket = self._buckets.get(actor)
        if bucket is None:
            if len(self._buckets) >= _MOST_BUCKETS:
                self._drop_full(now)
            bucket = self._buckets[actor] = _Bucket(float(self.per_minute), now)
        bucket.left, bucket.at = self._left(bucket, now), now
        if bucket.left < 1:
            return (1 - bucket.left) * 60 / self.per_minute
        bucket.left -= 1
        return 0

    def _left(self, bucket: _Bucket, now: float) -> float:
        return min(float(self.per_minute), bucket.left + (now - bucket.at) * self.per_minute / 60)

    def _drop_full(self, now: float) -> None:
        full = self.per_minute - 1e-9
        self._buckets = {actor: one for actor, one in self._buckets.items() if self._left(one, now) < full}
