"""A small shop: plain and async handlers, retries, limits, a context of its own, middleware, a nightly job.

worksong run examples.shop:worker --url redis://localhost:6379/0
worksong enqueue charge_card --args '{"order": 1, "cents": 4900}' --url redis://localhost:6379/0 --namespace shop
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable

from worksong import Context, Discard, Snooze, Worker

log = logging.getLogger("shop")


class ShopContext(Context):
    """Fresh for every run; middleware fills it, handlers read it."""

    tenant: str = "main"


worker = Worker("memory://", name="shop", concurrency=10, context=ShopContext)


@worker.middleware
async def timing(ctx: ShopContext, call_next: Callable[[ShopContext], Awaitable[object]]) -> object:
    started = time.perf_counter()
    try:
        return await call_next(ctx)
    finally:
        log.info("%s took %.1f ms", ctx.job.handler, (time.perf_counter() - started) * 1e3)


@worker.job(max_fails=5, max_concurrency=3, timeout=30, redact=("card",))
async def charge_card(ctx: ShopContext, order: int, cents: int, card: str = "") -> str:
    """At most three at once in the whole cluster; `ctx.fence` keeps a late run from charging twice."""
    if cents <= 0:
        raise Discard("nothing to charge")
    return f"order {order}: {cents} cents for {ctx.tenant}, fence {ctx.fence}"


@worker.job(priority=5, unique="until_done")
def resize_image(ctx: ShopContext, path: str, widths: list[int] | None = None) -> int:
    """A plain function runs in a thread; equal jobs are refused until this one is done."""
    sizes = widths or [320, 640, 1280]
    for done, _ in enumerate(sizes, start=1):
        ctx.progress(done, len(sizes))
    return len(sizes)


@worker.job(expires=3600)
async def remind(user: int, shop_is_open: bool = True) -> None:
    """Not sent when it is older than an hour; asks to be called again while the shop is closed."""
    if not shop_is_open:
        raise Snooze(600)
    log.info("reminding user %d", user)


@worker.periodic("0 3 * * *", tz="Europe/Berlin")
@worker.job()
def nightly_report() -> None:
    """At three every night, once in the whole cluster."""
    log.info("report written")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    charge_card.perform(order=1, cents=4900)
    resize_image.perform("cat.png")
    refused = resize_image.perform("cat.png")
    print("the second resize of the same image was", "refused" if refused is None else "taken")
    remind.perform(user=7)
    worker.run(burst=True)
