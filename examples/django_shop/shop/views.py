"""Buying, and looking at what was bought."""

from __future__ import annotations

from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from shop.jobs import send_receipt
from shop.models import Order


class CardRefused(Exception):
    """The bank said no."""


@csrf_exempt
@require_POST
def buy(request: HttpRequest) -> HttpResponse:
    try:
        with transaction.atomic():
            order = Order.objects.create(email=request.POST["email"], cents=int(request.POST["cents"]))
            send_receipt.perform(order_id=order.pk)
            charge(request.POST["card"])
    except CardRefused:  # neither an order nor a job is left
        return JsonResponse({"error": "the card was refused"}, status=402)
    return JsonResponse({"order": order.pk}, status=201)


@require_GET
def show(request: HttpRequest, order_id: int) -> HttpResponse:
    order = get_object_or_404(Order, pk=order_id)
    return JsonResponse({"email": order.email, "receipt": order.receipt})


def charge(card: str) -> None:
    if card.endswith("0000"):
        raise CardRefused
