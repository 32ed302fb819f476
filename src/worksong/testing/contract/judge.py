"""All themes of the contract in one class."""

from __future__ import annotations

from worksong.testing.contract.arguments import Arguments
from worksong.testing.contract.chronicles import Chronicles
from worksong.testing.contract.directing import Directing
from worksong.testing.contract.effects import Effects
from worksong.testing.contract.endings import Endings, Receipts
from worksong.testing.contract.examining import Examining, Tracing
from worksong.testing.contract.fetching import Fetching
from worksong.testing.contract.following import Following
from worksong.testing.contract.landing import Landing
from worksong.testing.contract.leases import Crashes, Eviction, Leases, Leaving
from worksong.testing.contract.limits import Limits, Pauses
from worksong.testing.contract.listings import Listings, Pools
from worksong.testing.contract.loading import Loading
from worksong.testing.contract.notebooks import Notebooks
from worksong.testing.contract.once import Ids, UniqueByKey, UniqueJobs
from worksong.testing.contract.operating import Cancelling, Purging, Reviving
from worksong.testing.contract.results import Returned
from worksong.testing.contract.schedules import Schedules
from worksong.testing.contract.stores import Opening, Outages, Poison, Siblings
from worksong.testing.contract.timing import Timing
from worksong.testing.contract.transactions import Transactions


class BackendContract(
    Fetching,
    Arguments,
    Endings,
    Receipts,
    Following,
    Timing,
    UniqueJobs,
    UniqueByKey,
    Ids,
    Leases,
    Eviction,
    Leaving,
    Crashes,
    Limits,
    Pauses,
    Cancelling,
    Purging,
    Reviving,
    Directing,
    Listings,
    Pools,
    Loading,
    Landing,
    Returned,
    Transactions,
    Effects,
    Examining,
    Tracing,
    Chronicles,
    Notebooks,
    Schedules,
    Siblings,
    Opening,
    Outages,
    Poison,
):
    """Subclass it, give `backend` as a fixture, and the hooks of `Suite` where the backend has more to show."""
