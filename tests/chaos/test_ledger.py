"""The verdict finds what is wrong: in a ledger with something planted in it, exactly that."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.ledger import BATCH, IN_FLIGHT, Journal, Ledger, Line, Stroke, judge


def story(*rows: str) -> Ledger:
    """`12.5 worker S job [attempt pool]` per line."""
    lines = []
    for row in rows:
        at, process, kind, subject, *rest = row.split()
        lines.append(Line(kind, subject, process, float(at), int(rest[0]) if rest else 0, rest[1] if rest else ""))
    return Ledger(lines)


GOOD = (
    *("1.0 p A a", "1.1 p K a", "1.2 p A b", "1.3 p K b"),
    *("2.0 w S a 1 P", "2.1 w F a 1 P", "3.0 w S b 1 P", "3.1 w F b 1 P"),
)


def test_a_run_in_which_nothing_happened_is_right() -> None:
    verdict = judge(story(*GOOD))

    assert verdict.right
    assert (verdict.acked, verdict.finished, verdict.budget) == (2, 2, 0)


def test_a_planted_loss_is_found() -> None:
    ledger = story(*GOOD, "4.0 p A c", "4.1 p K c", "4.2 w S c 1 P")

    assert judge(ledger).lost == ("c",)
    assert not judge(ledger).right


@pytest.mark.parametrize("kept", ["dead with a reason", "still stored"])
def test_what_is_kept_is_not_lost(kept: str) -> None:
    ledger = story(*GOOD, "4.0 p A c", "4.1 p K c")

    assert judge(ledger, kept={"c"}).right, kept


@pytest.mark.parametrize("answer", [(), ("4.1 p U c",)])
def test_what_was_never_acknowledged_is_not_lost(answer: tuple[str, ...]) -> None:
    assert judge(story(*GOOD, "4.0 p A c", *answer)).right


def test_what_was_not_acknowledged_and_runs_is_no_phantom() -> None:
    assert judge(story(*GOOD, "4.0 p A c", "4.1 p U c", "5 w S c 1 P", "6 w F c 1 P")).right


def test_a_planted_phantom_is_found() -> None:
    verdict = judge(story(*GOOD, "4.2 w S ghost 1 P", "4.3 w F ghost 1 P"))

    assert verdict.phantom == ("ghost",)
    assert not verdict.right


def test_a_planted_duplicate_is_found_as_often_as_it_ran() -> None:
    verdict = judge(story(*GOOD, "4 w S a 1 P", "5 w F a 1 P", "6 w S a 1 P", "7 w F a 1 P"))

    assert verdict.duplicates == ("a", "a")
    assert not verdict.right


def test_a_recorded_failure_explains_one_more_start() -> None:
    failing = ("4 p A c", "4.1 p K c", "5 w S c 1 P", "5.1 w R c 1 P", "6 w S c 2 P", "6.1 w F c 2 P")

    assert judge(story(*GOOD, *failing)).right
    assert judge(story(*GOOD, *failing, "7 w S c 2 P")).duplicates == ("c",)


def test_a_kill_explains_what_ran_in_the_killed_process_and_nothing_else() -> None:
    # Given a process killed at 4 while it ran c, and b ended long before
    ledger = story(*GOOD, "3.9 w S c 1 P", "5 v S c 1 Q", "5.1 v F c 1 Q", "1.4 p A c", "1.5 p K c")

    # Then one duplicate is explained; a second is not, nor is one of another process
    assert judge(ledger, [Stroke("w", 4.0)]).budget == 1
    assert judge(ledger, [Stroke("w", 4.0)]).right
    assert not judge(ledger, [Stroke("v", 6.0)]).right
    again = Ledger([*ledger.lines, Line("S", "b", "v", 6.0, 1, "Q")])
    assert not judge(again, [Stroke("w", 4.0)]).right


def test_a_kill_explains_endings_that_were_not_carried_out_yet_up_to_a_batch() -> None:
    # Given more endings in the last moment than leave in batches
    rows = [f"{3.9 + number / 10_000} w {kind} j{number} 1 P" for number in range(500) for kind in "SF"]

    assert story(*rows).budget(Stroke("w", 4.0)) == BATCH * IN_FLIGHT
    assert story(*rows[:20]).budget(Stroke("w", 4.0)) == 10
    assert story(*rows[:20]).budget(Stroke("w", 9.0)) == 0


def test_endings_of_an_outage_are_not_carried_out() -> None:
    # Given endings at 2.1 and 3.1, and a server that was away from 2 to 4
    ledger = story(*GOOD)

    assert ledger.budget(Stroke("w", 4.2), [(2.0, 4.0)]) == 2
    assert ledger.budget(Stroke("w", 4.2), [(2.5, 4.0)]) == 1
    assert ledger.budget(Stroke("w", 5.0), [(2.0, 4.0)]) == 0


def test_a_second_pool_of_a_process_tells_of_an_eviction() -> None:
    ledger = story("1 w P P1", "1 v P Q1", "2 w S a 1 P1", "9 w P P2", "9 w S b 1 P2")

    (eviction,) = ledger.evictions()
    assert (eviction.process, eviction.pool, eviction.at) == ("w", "P1", 9.0)
    assert ledger.budget(eviction) == 1


def test_what_journals_write_is_read_and_a_line_half_written_is_not(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "w")
    journal.write("S", "a", 1, "P")
    journal.write("F", "a", 1, "P")
    journal.close()
    with (tmp_path / "w.ledger").open("a") as file:
        file.write("S b 1 P 12")

    ledger = Ledger.read(tmp_path)

    assert [(line.kind, line.subject, line.process, line.attempt, line.pool) for line in ledger.lines] == [
        ("S", "a", "w", 1, "P"),
        ("F", "a", "w", 1, "P"),
    ]
