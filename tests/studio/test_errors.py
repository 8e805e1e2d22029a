"""The one error a user meets."""

from studio.errors import StudioError


def test_one_line_in_a_fixed_order():
    error = StudioError("bad\nfile", got="two\n lines", expected=3, next="look")
    assert str(error) == "bad file; got two lines; expected 3; next: look"


def test_parts_that_are_not_given_are_left_out_and_falsy_ones_are_not():
    assert str(StudioError("bad")) == "bad"
    assert str(StudioError("bad", got=0)) == "bad; got 0"
