"""Jobs succeeding, retrying, waiting, repeating, following one another and failing for good - in a few seconds.

make demo
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
import time

from rich.console import Console
from rich.table import Table

from worksong import Context, JobFailed, Pipeline, Worker

PATIENCE = 60.0

console = Console(highlight=False, soft_wrap=True)
started = time.monotonic()
folder = tempfile.TemporaryDirectory(prefix="worksong-demo-")
worker = Worker(f"sqlite:///{folder.name}/jobs.db", name="demo", concurrency=8)


def tell(mark: str, colour: str, text: str) -> None:
    """One line of the story, with the time it happened."""
    console.print(f"[dim]{time.monotonic() - started:5.2f}s[/] [{colour}]{mark}[/] {text}")


@worker.job()
async def resize_image(name: str) -> str:
    await asyncio.sleep(0.05)
    tell("✓", "green", f"resize_image   {name}")
    return name


@worker.job(backoff=lambda job: 0.4 * job.fails)
async def charge_card(ctx: Context, order: int, cents: int) -> str:
    if ctx.job.attempt < 3:
        tell("↻", "yellow", f"charge_card    order {order}: the bank is busy (try {ctx.job.attempt})")
        raise ConnectionError("the bank is busy")
    tell("✓", "green", f"charge_card    order {order}: {cents / 100:.2f} charged at the third try")
    receipt = await send_receipt.aperform(order=order)
    return receipt.id


@worker.job()
def send_receipt(order: int) -> None:
    tell("✓", "green", f"send_receipt   order {order}, enqueued by charge_card; a plain function, in a thread")


@worker.job()
async def remind(user: int) -> None:
    tell("✓", "cyan", f"remind         user {user}, scheduled for now a moment ago")


@worker.periodic("@every 1s")
@worker.job()
async def tick() -> None:
    tell("•", "blue", "tick           the periodic job, once a second")


@worker.job(max_fails=2, backoff=lambda job: 0.2)
async def deliver(address: str) -> None:
    tell("✗", "red", f"deliver        nobody lives at {address}")
    raise LookupError(f"nobody lives at {address}")


@worker.job(unique="until_start")
async def rebuild_index() -> None:
    tell("✓", "green", "rebuild_index  ran once, though it was enqueued three times")


@worker.job()
async def fetch(page: str) -> list[str]:
    tell("→", "cyan", f"fetch          {page}, the first step of a pipeline")
    return ["to", "be", "or", "not", "to", "be"]


@worker.job()
async def count(previous: list[str]) -> int:
    tell("→", "cyan", f"count          {len(previous)} words, which the step before returned")
    return len(previous)


@worker.job()
async def report(previous: int) -> str:
    tell("✓", "green", f"report         piped through: {previous} words")
    return f"{previous} words"


async def story() -> None:
    """Enqueue, run until all has ended, sum up."""
    await worker.aperform_many([resize_image.job(f"photo-{n}.jpg") for n in range(1, 6)])
    charged = await charge_card.aperform(order=17, cents=4900)
    delivered = await deliver.aperform("1 Nowhere Lane")
    reminded = await remind.aperform_in(3, user=7)
    piped = await Pipeline([fetch.step("hamlet"), count.step(previous=True), report.step(previous=True)]).aperform()
    enqueued = [await rebuild_index.aperform() for _ in range(3)]
    tell("+", "magenta", f"enqueued; {enqueued.count(None)} of 3 equal index jobs were refused as duplicates")
    async with worker:
        await worker.handle(await charged.aresult(timeout=PATIENCE)).aresult(timeout=PATIENCE)
        await piped.aresult(timeout=PATIENCE)
        await reminded.aresult(timeout=PATIENCE)
        with contextlib.suppress(JobFailed):
            await delivered.aresult(timeout=PATIENCE)
        stats = worker.stats
    dead = (await worker.admin.adead()).jobs
    took = f"in {time.monotonic() - started:.0f} seconds"
    summary = Table(title=took, title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    for number, what in (
        (stats.done, "jobs done"),
        (stats.retried, "retries after a failure"),
        (len(dead), f"dead, kept for a human: {dead[0].error}" if dead else "dead"),
        (enqueued.count(None), "duplicates refused"),
    ):
        summary.add_row(f"[bold]{number}[/]", what)
    console.print()
    console.print(summary)
    console.print("\nNext: [bold]examples/shop.py[/], and the tutorial in [bold]docs/tutorial.md[/]")


def main() -> int:
    """Tell the story; 0 when it went as told."""
    logging.getLogger("worksong").setLevel(logging.CRITICAL)  # the failures are part of the story
    console.print("[bold]worksong[/] on sqlite://, a file: nothing installed, nothing started\n")
    with folder:
        asyncio.run(story())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
