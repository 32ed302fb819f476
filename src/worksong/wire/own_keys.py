"""The Redis keys that worksong adds to a namespace of another library, whichever that is."""

from __future__ import annotations


class OwnKeys:
    """Everything of ours in one namespace. Names and ids are inserted raw, as the peers do it with theirs."""

    def __init__(self, namespace: str) -> None:
        """`namespace` with or without its colon at the end; empty means no prefix at all."""
        prefix = namespace if not namespace or namespace.endswith(":") else f"{namespace}:"
        self.prefix = prefix
        self.own_prefix = f"{prefix}worksong:"
        """No peer's key or scan pattern begins so."""
        self.recovered = f"{self.own_prefix}recovered"
        """hash: job id -> how often it was taken from a pool that died."""
        self.recovered_at = f"{self.own_prefix}recovered_at"
        """zset: job id by the time of its last recovery, to forget old counts."""
        self.cancelled = f"{self.own_prefix}cancelled"
        """zset: ids of running jobs that were told to stop."""
        self.reaper = f"{self.own_prefix}reaper"
        """string: the pool that reaps now."""
        self.fence = f"{self.own_prefix}fence"
        """string int: grows with every lending."""

    def paused(self, queue: str) -> str:
        """string: there while a queue is."""
        return f"{self.own_prefix}paused:{queue}"

    def told(self, pool: str) -> str:
        """string: what an operator wants of one of our pools, quiet or stop; gone a week after its last beat."""
        return f"{self.own_prefix}told:{pool}"

    def enqueued(self, job_id: str) -> str:
        """string: "1" set by the first push of this id, so that a repeated one does nothing; "0" for others' ids."""
        return f"{self.own_prefix}enqueued:{job_id}"

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

    def course(self, seconds: int, at: int) -> str:
        """hash: `NUMBER:JOB TYPE` -> what jobs did in the slot so many seconds long that begins at that Unix second."""
        return f"{self.own_prefix}course:{seconds}:{at}"

    def page(self, name: str) -> str:
        """list: lines that people read, the latest first."""
        return f"{self.own_prefix}page:{name}"
