"""How the shop is tested: jobs run where they are enqueued."""

from __future__ import annotations

from django.test import TestCase

from shop.models import Order
from worksong.contrib.django import worker
from worksong.testing import inline


class Buying(TestCase):
    def test_whoever_pays_gets_a_receipt(self) -> None:
        with inline(worker) as ran:
            answer = self.client.post("/orders", {"email": "ann@example.com", "cents": "4900", "card": "4242"})
        self.assertEqual(answer.status_code, 201)
        self.assertEqual([one.job.handler for one in ran], ["send_receipt"])
        self.assertEqual(Order.objects.get().receipt, "ann@example.com paid 49.00")
