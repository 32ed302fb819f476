"""Every Redis key of a gocraft/work namespace, theirs and ours, from one place."""

from __future__ import annotations


class Keys:
    """The keys of one namespace. Names and ids are inserted raw, as gocraft/work does it."""

    def __init__(self, namespace: str) -> None:
        """`namespace` with or without its colon at the end; empty means no prefix at all."""
        prefix = namespace if not namespace or namespace.endswith(":") else f"{namespace}:"
        self.prefix = prefix
        self.known_jobs = f"{prefix}known_jobs"
        self.retry = f"{prefix}retry"
        self.scheduled = f"{prefix}scheduled"
        self.dead = f"{prefix}dead"
        self.worker_pools = f"{prefix}worker_pools"
        self.last_periodic = f"{prefix}last_periodic_enqueue"
        self.jobs_prefix = f"{prefix}jobs:"
        self.unique_prefix = f"{prefix}unique:"
        self.own_prefix = f"{prefix}worksong:"
        """Everything of ours; Go peers never look below it."""
        self.recovered = f"{self.own_prefix}recovered"
        """hash: job id -> how often it was taken from a pool that died."""
        self.recovered_at = f"{self.own_prefix}recovered_at"
        """zset: job id by the time of its last recovery, to forget old counts."""
        self.cancelled = f"{self.own_prefix}cancelled"
        self.own_pools = f"{self.own_prefix}pools"
        """zset: worksong's pools by their last beat; a fetch of theirs frees a unique lock in the same step."""
        self.reaper = f"{self.own_prefix}reaper"
        """string: the pool that reaps now."""
        self.aside = f"{self.own_prefix}aside"
        """list: what a move to another store has taken out of the queues and sets, as load.lua explains it."""
        self.fence = f"{self.own_prefix}fence"
        """string int: grows with every lending."""

    def jobs(self, name: str) -> str:
        """list: the waiting jobs of one type, newest at the head."""
        return f"{self.jobs_prefix}{name}"

    def inprogress(self, name: str, pool: str) -> str:
        """list: the bytes of the jobs that a pool holds."""
        return f"{self.jobs_prefix}{name}:{pool}:inprogress"

    def paused(self, name: str) -> str:
        return f"{self.jobs_prefix}{name}:paused"

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

    def enqueued(self, job_id: str) -> str:
        """string: "1" set by the first push of this id, so that a repeated one does nothing; "0" for others' ids."""
        return f"{self.own_prefix}enqueued:{job_id}"

    def held(self, unique_key: str) -> str:
        """string: the lock of a job that stays unique until it is done, while it runs."""
        return f"{self.own_prefix}held:{unique_key}"

    def poison(self, job_id: str) -> str:
        """string: the original bytes of poison too large for a document."""
        return f"{self.own_prefix}poison:{job_id}"

    def result(self, job_id: str) -> str:
        """string: what became of a job."""
        return f"{self.own_prefix}result:{job_id}"

    def waiting(self, job_id: str) -> str:
        """set: the mailboxes of those who wait for the result of a job."""
        return f"{self.own_prefix}waiting:{job_id}"

    def mailbox(self, reader: str) -> str:
        """list: the ids of the results that a process waited for."""
        return f"{self.own_prefix}mailbox:{reader}"

    def record(self, kind: str, record_id: str) -> str:
        """string: a record of the job service, what it is listed by in the first line."""
        return f"{self.own_prefix}record:{kind}:{record_id}"

    def records(self, kind: str, status: int | None = None) -> str:
        """zset: the ids of the records of a kind (and of one status) by the time of their creation."""
        return f"{self.own_prefix}records:{kind}" + ("" if status is None else f":{status}")

    @property
    def records_unsent(self) -> str:
        """zset: KIND:ID of the records of what is missing in the queue, by the time since when."""
        return f"{self.own_prefix}records_unsent"

    @property
    def records_until(self) -> str:
        """zset: KIND:ID of the records that may be forgotten, by the time from when on."""
        return f"{self.own_prefix}records_until"
