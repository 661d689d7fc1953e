"""Shrinking leaves a sequence of which nothing can be left out."""

from pageblock.check.shrink import shrink


def test_only_what_is_needed_stays_in_its_order() -> None:
    assert shrink(range(1000), lambda rest: {13, 500, 998} <= set(rest)) == [13, 500, 998]


def test_order_is_kept_where_it_matters() -> None:
    def fails(rest: list[str]) -> bool:
        text = "".join(rest)
        return "a" in text and "b" in text[text.index("a") :]

    assert shrink(list("bbcabcabc"), fails) == ["a", "b"]


def test_a_sequence_of_which_nothing_can_go_stays() -> None:
    assert shrink([1, 2, 3], lambda rest: rest == [1, 2, 3]) == [1, 2, 3]


def test_no_more_runs_than_asked_for() -> None:
    runs: list[int] = []

    def passes(rest: list[int]) -> bool:
        runs.append(len(rest))
        return False

    shrink(range(64), passes, tries=10)
    assert len(runs) == 10
