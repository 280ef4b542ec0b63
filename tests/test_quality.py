"""docs/quality.md: its blocks are those that `make quality` writes, and its arithmetic is right."""

import importlib

import pytest

from tests.quality.run import PAGE, blocks, replace_block, topics
from tests.quality.scores import Confusion, table, wilson


def test_each_block_of_the_page_is_written_by_one_topic():
    written = [
        name for t in topics() for name in importlib.import_module(f"tests.quality.{t}").BLOCKS
    ]

    assert sorted(written) == sorted(blocks(PAGE.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_intervals_are_those_of_newcombe(hits, n, low, high):
    assert wilson(hits, n) == pytest.approx((low, high), abs=5e-5)


def test_precision_and_recall_are_counted_the_right_way_round():
    found = Confusion.of([True, True, False, False, True], [True, False, True, False, True])

    assert found == Confusion(hits=2, misses=1, false_alarms=1, correct_rejections=1)
    assert found.precision().startswith("66.7 %")
    assert found.recall().endswith("of 3")
    assert found.alarm_rate().startswith("50.0 %")


def test_a_block_is_replaced_and_nothing_else():
    page = "a\n<!-- begin x -->\nold\n<!-- end x -->\nb\n"

    assert replace_block(page, "x", table(["k", "n"], [["y", "1"]])) == (
        "a\n<!-- begin x -->\n| k | n |\n| --- | ---: |\n| y | 1 |\n<!-- end x -->\nb\n"
    )
    with pytest.raises(ValueError, match="has 0 blocks"):
        replace_block(page, "z", "")
