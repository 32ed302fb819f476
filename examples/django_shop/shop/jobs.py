"""What the shop does in the background."""

from __future__ import annotations

from shop.models import Order
from worksong.contrib.django import worker


@worker.job(max_fails=5)
def send_receipt(order_id: int) -> str:
    """The order is there: this job came with the commit that wrote it."""
    order = Order.objects.get(pk=order_id)
    order.receipt = f"{order.email} paid {order.cents / 100:.2f}"
    order.save(update_fields=["receipt"])
    return order.receipt


@worker.periodic("0 3 * * *")
@worker.job()
async def count_orders() -> int:
    """Every night; Django's coroutines work as well."""
    return await Order.objects.acount()
