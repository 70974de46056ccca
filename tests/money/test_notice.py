import pytest

from pantheon.money.notice import LEVELS, reached


@pytest.mark.parametrize(
    ("left", "levels"),
    [
        (10_001, []),
        (251, []),
        (250, [25]),
        (101, [25]),
        (100, [25, 10]),
        (10, [25, 10]),
        (9, [25, 10, 0]),
        (0, [25, 10, 0]),
    ],
)
def test_levels_are_shares_of_the_last_top_up(left: int, levels: list[int]) -> None:
    assert reached(left=left, top_up=1000) == levels


def test_a_level_is_reached_with_all_above_it() -> None:
    for left in range(1000):
        levels = reached(left=left, top_up=333)
        assert levels == list(LEVELS[: len(levels)])
