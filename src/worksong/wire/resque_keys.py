"""Every Redis key of a Resque namespace, theirs and ours, from one place."""

from __future__ import annotations

from worksong.wire.own_keys import OwnKeys


class Keys(OwnKeys):
    """The keys of one namespace."""

    def __init__(self, namespace: str) -> None:
        super().__init__(namespace)
        prefix = self.prefix
        self.queues = f"{prefix}queues"
        """set: the names of all queues."""
        self.failed = f"{prefix}failed"
        """list: failure documents, oldest first."""
        self.workers = f"{prefix}workers"
        """set: the ids of registered workers."""
        self.heartbeats = f"{prefix}workers:heartbeat"
        """hash: worker id -> its last sign of life, as text; Ruby prunes by it."""
        self.pause_all = f"{prefix}pause-all-workers"
        """string: "true" pauses everybody."""
        self.schedule = f"{prefix}delayed_queue_schedule"
        """zset: due second -> itself; the jobs lie in the list `delayed` of that second."""
        self.delayed_prefix = f"{prefix}delayed:"
        self.timestamps_prefix = f"{prefix}timestamps:"
        """Before a payload: set of the names of the lists, without prefix, that hold it."""
        self.processed = f"{prefix}stat:processed"
        self.failures = f"{prefix}stat:failed"
        self.ruby_scheduler = f"{prefix}resque:resque_scheduler_master_lock"
        """string: who moves due jobs, for Ruby; its name really holds the namespace twice."""
        self.node_scheduler = f"{prefix}resque_scheduler_leader_lock"
        """string: the same for node-resque, which does not look at Ruby's."""
        self.pools = f"{self.own_prefix}pools"
        """set: our pools."""
        self.beaten = f"{self.own_prefix}beaten"
        """zset: our pools by about the time of their last beat."""
        self.retries = f"{self.own_prefix}retries"
        """zset: payloads on the schedule that failed before, by their second."""
        self.order = f"{self.own_prefix}order"
        """string int: grows with every job that is queued here."""

    def queue(self, name: str) -> str:
        """list: the waiting payloads, the next one at the head."""
        return f"{self.prefix}queue:{name}"

    def delayed(self, second: int) -> str:
        """list: the payloads due at that second."""
        return f"{self.delayed_prefix}{second}"

    def timestamps(self, payload: str) -> str:
        return f"{self.timestamps_prefix}{payload}"

    def worker(self, worker: str) -> str:
        """string: what a busy worker does."""
        return f"{self.prefix}worker:{worker}"

    def started(self, worker: str) -> str:
        return f"{self.prefix}worker:{worker}:started"

    def ping(self, name: str) -> str:
        """string: node's sign of life."""
        return f"{self.prefix}worker:ping:{name}"

    def processed_by(self, worker: str) -> str:
        return f"{self.processed}:{worker}"

    def failures_of(self, worker: str) -> str:
        return f"{self.failures}:{worker}"

    def retry(self, identity: str) -> str:
        """string int: how often a job of this class and arguments was retried; resque-retry's and node's."""
        return f"{self.prefix}resque-retry:{identity}"

    def lent(self, pool: str) -> str:
        """hash: fence -> length of the queue's name, colon, its name, the payload: what a pool holds."""
        return f"{self.own_prefix}lent:{pool}"

    def pool(self, pool: str) -> str:
        """hash: a pool's heartbeat."""
        return f"{self.own_prefix}pool:{pool}"

    def slot(self, worker: str) -> str:
        """hash: what a slot of a pool does."""
        return f"{self.own_prefix}worker:{worker}"
