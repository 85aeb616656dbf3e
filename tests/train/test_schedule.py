import pytest

from livelatent.train.schedule import Schedule


def test_a_warm_up_rises_once_and_stays():
    schedule = Schedule(rise_epochs=8)
    assert [schedule.share_at(epoch) for epoch in (0, 2, 6, 8, 100)] == [0, 0.25, 0.75, 1, 1]


def test_nothing_asked_for_counts_in_full_from_the_first_step():
    assert Schedule().share_at(0) == 1


def test_sailers_course_waits_and_then_rises_again_and_again():
    # Ten epochs as a plain autoencoder, then cycles of 100 whose first half rises.
    schedule = Schedule(wait_epochs=10, rise_epochs=50, cycle_epochs=100)
    assert [schedule.share_at(epoch) for epoch in (0, 9.9, 10, 35, 60, 109, 110, 135, 160)] == pytest.approx(
        [0, 0, 0, 0.5, 1, 1, 0, 0.5, 1]
    )


@pytest.mark.parametrize("factor", [0.3, 1, 2.5])
def test_a_scaled_course_passes_the_same_places_at_scaled_times(factor):
    schedule = Schedule(wait_epochs=3, rise_epochs=4, cycle_epochs=9)
    for epoch in (0, 2, 3.5, 5, 8, 11.75, 14, 30.25):
        assert schedule.scaled(factor).share_at(factor * epoch) == pytest.approx(schedule.share_at(epoch))


@pytest.mark.parametrize("wrong", [{"rise_epochs": -1}, {"wait_epochs": -0.5}, {"cycle_epochs": 0}])
def test_a_course_that_goes_backwards_is_refused(wrong):
    with pytest.raises(ValueError, match="0 or more"):
        Schedule(**wrong)
