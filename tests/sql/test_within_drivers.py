"""Jobs enqueued on the connection of every driver and framework: one story each, told of all of them."""

from __future__ import annotations

import pytest

from sql.shop import APPS, Shop, mailer, places
from worksong import InvalidArguments, Unsupported
from worksong.domain.errors import BackendRefused, ConfigError

pytestmark = pytest.mark.parametrize("place", places(APPS), indirect=True)

BROKEN = {
    "sqlite": "CREATE TEMP TRIGGER full BEFORE INSERT ON worksong_job BEGIN SELECT RAISE(FAIL, 'no'); END",
    "postgres": "SET LOCAL search_path = nowhere",
    "mariadb": "USE mysql",
}
MENDED = {"sqlite": "DROP TRIGGER full", "postgres": "SET LOCAL search_path = public", "mariadb": "USE worksong"}
"""How a connection cannot write jobs for a while."""
SERVER = "nobody@127.0.0.1:1/nowhere"
ELSEWHERE = {"sqlite": f"mariadb://{SERVER}", "postgres": "sqlite:///no.db", "mariadb": f"postgresql://{SERVER}"}
"""A database of another kind."""


async def test_a_commit_brings_the_job_and_what_it_is_about(shop: Shop) -> None:
    # When a job is the first thing in a transaction, and something is written after it
    handle = await shop.lent.enqueue(shop.send, 7)
    await shop.sell()

    # Then both are there with the commit
    assert await shop.waiting() == []
    await shop.lent.call(shop.lent.app.commit)
    assert await shop.waiting() == [7]
    assert await shop.sales() == 1
    assert handle.job.args == {"number": 7}


async def test_a_rollback_leaves_nothing(shop: Shop) -> None:
    await shop.sell()
    await shop.lent.enqueue(shop.send, 7)
    await shop.lent.call(shop.lent.app.rollback)

    assert await shop.sales() == 0
    await shop.lent.call(shop.lent.app.commit)
    assert await shop.waiting() == []


async def test_a_rollback_to_a_savepoint_leaves_what_was_before_it(shop: Shop) -> None:
    await shop.sell()
    await shop.lent.enqueue(shop.send, 1)
    point = await shop.lent.call(shop.lent.app.savepoint)
    await shop.lent.enqueue(shop.send, 2)
    await shop.sell()
    await shop.lent.call(shop.lent.app.back_to, point)
    await shop.lent.call(shop.lent.app.commit)

    assert await shop.waiting() == [1]
    assert await shop.sales() == 1


async def test_a_refused_job_leaves_the_transaction_as_it_was(shop: Shop) -> None:
    # Given an id that was enqueued, and a sale
    assert await shop.lent.enqueue(shop.send, 1, id="sale-1") is not None
    assert await shop.lent.enqueue(shop.send, 2, id="sale-1") is None
    assert await shop.lent.enqueue(shop.send, 3, unique="until_done") is not None
    assert await shop.lent.enqueue(shop.send, 3, unique="until_done") is None
    await shop.sell()

    # When the database refuses a job
    await shop.lent.execute(BROKEN[shop.database])
    with pytest.raises((BackendRefused, ConfigError), match=r"worksong_|refused: no"):
        await shop.lent.enqueue(shop.send, 4, id="sale-4")
    await shop.lent.execute(MENDED[shop.database])

    # Then the rest can be committed, and the refused id is still free
    assert await shop.lent.enqueue(shop.send, 5, id="sale-4") is not None
    await shop.lent.call(shop.lent.app.commit)
    assert await shop.waiting() == [1, 3, 5]
    assert await shop.sales() == 1


async def test_several_jobs_are_one_push(shop: Shop) -> None:
    within = shop.worker.within(shop.lent.connection)
    many = within.perform_many if shop.lent.blocks else within.aperform_many
    handles = await shop.lent.call(many, [shop.send.job(number) for number in range(50)])
    await shop.lent.call(shop.lent.app.commit)

    assert await shop.waiting() == list(range(50))
    assert [handle.job.args["number"] for handle in handles] == list(range(50))


async def test_a_connection_that_cannot_be_used_says_why(shop: Shop) -> None:
    # Given code of the other kind
    if not shop.lent.blocks:
        with pytest.raises(InvalidArguments, match="await aperform"):
            shop.send.with_options(connection=shop.lent.connection).perform(7)

    # And a connection that would commit by itself
    await shop.lent.call(shop.lent.app.commit_by_itself)
    with pytest.raises(InvalidArguments, match="no transaction open"):
        await shop.lent.enqueue(shop.send, 7)
    assert await shop.waiting() == []

    # And one to a database of another kind than that of the worker
    _, elsewhere = mailer(ELSEWHERE[shop.database], "shop")
    with pytest.raises(Unsupported, match="give it a connection of"):
        await shop.lent.enqueue(elsewhere, 7)
