"""What a Prometheus reads of a text of metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar
from urllib.request import Request, urlopen

from prometheus_client.parser import text_string_to_metric_families

from patience import PATIENCE, until

T = TypeVar("T")


class Scrape:
    """All samples of one scrape."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self._samples = [sample for family in self.families.values() for sample in family.samples]

    def __call__(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name that have these labels; an error if there are none."""
        found = list(self._values(name, labels))
        assert found, f"no {name}{labels} among {sorted({sample.name for sample in self._samples})}"
        return sum(found)

    def has(self, name: str, **labels: str) -> bool:
        return any(True for _ in self._values(name, labels))

    def _values(self, name: str, labels: dict[str, str]) -> Iterator[float]:
        for sample in self._samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                yield sample.value


def get(url: str, **headers: str) -> str:
    with urlopen(Request(url, headers=headers), timeout=PATIENCE) as answer:
        text: str = answer.read().decode()
        return text


def scraped_until(url: str, wanted: Callable[[Scrape], bool]) -> Scrape:
    """The first scrape that is as wanted."""
    return until(lambda: Scrape(get(url)), lambda seen: f"a scrape, last was {seen.families}", met=wanted, pause=0.05)
