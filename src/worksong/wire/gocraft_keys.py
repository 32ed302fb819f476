"""Every Redis key of a gocraft/work namespace, theirs and ours, from one place."""

from __future__ import annotations

from worksong.wire.own_keys import OwnKeys


class Keys(OwnKeys):
    """The keys of one namespace."""

    def __init__(self, namespace: str) -> None:
        super().__init__(namespace)
        prefix = self.prefix
        self.known_jobs = f"{prefix}known_jobs"
        self.retry = f"{prefix}retry"
        self.scheduled = f"{prefix}scheduled"
        self.dead = f"{prefix}dead"
        self.worker_pools = f"{prefix}worker_pools"
        self.last_periodic = f"{prefix}last_periodic_enqueue"
        self.jobs_prefix = f"{prefix}jobs:"
        self.unique_prefix = f"{prefix}unique:"
        self.own_pools = f"{self.own_prefix}pools"
        """zset: worksong's pools by their last beat; a fetch of theirs frees a unique lock in the same step."""
        self.aside = f"{self.own_prefix}aside"
        """list: what a move to another store has taken out of the queues and sets, as load.lua explains it."""

    def jobs(self, name: str) -> str:
        """list: the waiting jobs of one type, newest at the head."""
        return f"{self.jobs_prefix}{name}"

    def inprogress(self, name: str, pool: str) -> str:
        """list: the bytes of the jobs that a pool holds."""
        return f"{self.jobs_prefix}{name}:{pool}:inprogress"

    def paused(self, queue: str) -> str:
        """string: Go's own, so that its workers obey it, too."""
        return f"{self.jobs_prefix}{queue}:paused"

    def lock(self, name: str) -> str:
        """string int: how many jobs of the type run now, over all pools."""
        return f"{self.jobs_prefix}{name}:lock"

    def lock_info(self, name: str) -> str:
        """hash: pool -> how many of them it runs."""
        return f"{self.jobs_prefix}{name}:lock_info"

    def max_concurrency(self, name: str) -> str:
        return f"{self.jobs_prefix}{name}:max_concurrency"

    def pool(self, pool: str) -> str:
        """hash: a pool's heartbeat."""
        return f"{self.worker_pools}:{pool}"

    def worker(self, worker: str) -> str:
        """hash: what a worker is doing."""
        return f"{self.prefix}worker:{worker}"

    def receipt(self, load_id: str) -> str:
        """string: what became of a load that a move brought here."""
        return f"{self.own_prefix}receipt:{load_id}"

    def held(self, unique_key: str) -> str:
        """string: the lock of a job that stays unique until it is done, while it runs."""
        return f"{self.own_prefix}held:{unique_key}"
