"""Charts as SVG that the server draws: no script, no style in the page; colours and words come from the stylesheet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from markupsafe import Markup

from worksong.domain.tally import BOUNDS, Spread
from worksong.service.course import QUANTILES, Course
from worksong.service.moments import relative, span

WIDTH, HEIGHT = 600, 120
"""The units of a chart; it is stretched to the room that it has."""
STEPS = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
"""Where an axis may end, times a power of ten."""
BUCKET_WIDTH, BUCKETS_HEIGHT = 6, 24


class Chart(NamedTuple):
    """One chart."""

    name: str
    title: str
    unit: str
    """What is counted, where the labels of the axis do not say so."""
    told: str
    """What a screen reader says instead."""
    scale: Sequence[str]
    """The labels of the axis, from its end down to its half."""
    points: Sequence[str]
    """What whoever points at a place is told of it, from left to right."""
    marks: Markup

    @property
    def picture(self) -> Markup:
        return Markup(
            '<svg class="chart" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" '
            'aria-labelledby="{}-title {}-desc"><title id="{}-title">{}</title><desc id="{}-desc">{}</desc>{}{}'
            '<path class="cursor"/></svg>'
        ).format(WIDTH, HEIGHT, self.name, self.name, self.name, self.title, self.name, self.told, _grid(), self.marks)


def throughput(course: Course) -> Chart:
    """Runs that ended, the failed ones on top."""
    tallies = [point.tally for point in course.points]
    highest = nice(max((tally.ended() for tally in tallies), default=0))
    pairs = [(tally.ended() - tally.failed, tally.failed) for tally in tallies]
    done, failed = (sum(each) for each in zip(*pairs, strict=True))
    marks = [
        mark
        for place, (well, lost) in enumerate(pairs)
        for mark in _stack(place, len(pairs), ((well, "done"), (lost, "dead")), highest)
    ]
    return Chart(
        "throughput",
        "Runs",
        f"in {span(course.period.step)}",
        f"{done:,} runs did well and {failed:,} failed in {course.period.words}.",
        (f"{highest:,.0f}", f"{highest / 2:,.0f}" if highest % 2 == 0 else ""),
        _told_of(course, [f"{well:,} done, {lost:,} failed" for well, lost in pairs]),
        Markup("").join([*marks, *_releases(course)]),
    )


def durations(course: Course, spreads: Sequence[Spread], name: str, title: str) -> Chart:
    """Half, 95 % and 99 % of the runs took at most so long, point by point; gaps where nothing ran."""
    lines = {label: [spread.quantile(share) for spread in spreads] for label, share in QUANTILES.items()}
    highest = nice(max((value for line in lines.values() for value in line if value is not None), default=0.0))
    marks = [_line(line, highest, label) for label, line in reversed(lines.items())]
    values = [", ".join(_named(spread)) for spread in spreads]
    return Chart(
        name,
        title,
        "",
        _in_short(course, spreads),
        (span(highest), span(highest / 2)),
        _told_of(course, [value or "nothing ran" for value in values]),
        Markup("").join([*marks, *_releases(course)]),
    )


def _named(spread: Spread) -> Iterable[str]:
    for label, share in QUANTILES.items():
        value = spread.quantile(share)
        if value is not None:
            yield f"{label} {span(value)}"


def _in_short(course: Course, spreads: Sequence[Spread]) -> str:
    """What all points together tell."""
    whole = Spread(sum(s.seconds for s in spreads), tuple(map(sum, zip(*(s.counts for s in spreads), strict=True))))
    said = [
        f"{share:.0%} took at most {span(value)}"
        for share in QUANTILES.values()
        if (value := whole.quantile(share)) is not None
    ]
    return f"Of {whole.count:,} in {course.period.words}, {', '.join(said)}." if said else "Nothing ran."


def _told_of(course: Course, values: Sequence[str]) -> list[str]:
    """Each point with its age, and with what was released then."""
    pairs = zip(course.points, values, strict=True)
    told = [f"{relative(point.at, course.at)}: {value}" for point, value in pairs]
    for release in course.releases:
        place = int((release.at - course.points[0].at) // course.period.step)
        told[min(place, len(told) - 1)] += f"; release {release.name}"
    return told


def histogram(spread: Spread) -> Markup:
    """How many took how long, as small bars from short to long; in words for who points at it, or hears it."""
    highest = max(spread.counts) or 1
    bars = [
        Markup('<rect x="{}" y="{:.1f}" width="{}" height="{:.1f}"/>').format(
            place * BUCKET_WIDTH, BUCKETS_HEIGHT - height, BUCKET_WIDTH - 1, height
        )
        for place, count in enumerate(spread.counts)
        if (height := max(1.0, count * BUCKETS_HEIGHT / highest) if count else 0.0)
    ]
    return Markup(
        '<svg class="buckets" viewBox="0 0 {} {}" role="img"><title>{}</title>'
        '<path class="ground" d="M0 {}H{}"/>{}</svg>'
    ).format(
        len(spread.counts) * BUCKET_WIDTH,
        BUCKETS_HEIGHT + 1,
        _in_words(spread),
        BUCKETS_HEIGHT + 0.5,
        len(spread.counts) * BUCKET_WIDTH,
        Markup("").join(bars),
    )


def nice(highest: float) -> float:
    """Where an axis ends that must reach so far: at a number that reads well."""
    if highest <= 0:
        return 1.0
    power = 1.0
    while power > highest:
        power /= 10
    while power * 10 <= highest:
        power *= 10
    return next(power * step for step in STEPS if power * step >= highest * (1 - 1e-9))


def _grid() -> Markup:
    lines = "".join(f"M0 {HEIGHT * part / 4 + 0.5:g}H{WIDTH}" for part in range(5))
    return Markup('<path class="grid" d="{}"/>').format(lines)


def _stack(place: int, places: int, parts: Iterable[tuple[int, str]], highest: float) -> Iterable[Markup]:
    """A bar of several parts, from the ground upwards."""
    width, ground = WIDTH / places, float(HEIGHT)
    for count, kind in parts:
        if count:
            height = max(0.8, count * HEIGHT / highest)
            ground -= height
            yield Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
                kind, place * width + width * 0.1, ground, width * 0.8, height
            )


def _line(values: Sequence[float | None], highest: float, kind: str) -> Markup:
    """A line through the points that there are; one that stands alone is a dash."""
    width = WIDTH / max(1, len(values))
    steps: list[str] = []
    before: float | None = None
    for place, value in enumerate(values):
        if value is not None:
            x, y = (place + 0.5) * width, HEIGHT - value * HEIGHT / highest
            alone = before is None and (place + 1 >= len(values) or values[place + 1] is None)
            steps.append(f"{'M' if before is None else 'L'}{x - (width / 2 if alone else 0):.1f} {y:.1f}")
            steps += [f"h{width:.1f}"] if alone else []
        before = value
    return Markup('<path class="line {}" d="{}"/>').format(kind, "".join(steps))


def _releases(course: Course) -> Iterable[Markup]:
    """A line across the chart where a release began."""
    for release in course.releases:
        x = (release.at - course.points[0].at) * WIDTH / course.period.seconds
        yield Markup('<g class="release"><title>{}</title><path d="M{:.1f} 0V{}"/></g>').format(
            f"release {release.name}", min(x, WIDTH - 1), HEIGHT
        )


def _in_words(spread: Spread) -> str:
    limits = [0.0, *BOUNDS]
    told = [
        f"{count:,} took {span(low)} to {span(high)}"
        for (low, high), count in zip(pairwise(limits), spread.counts, strict=False)
        if count
    ]
    return "; ".join([*told, *([f"{spread.counts[-1]:,} longer"] if spread.counts[-1] else [])]) or "nothing ran"
