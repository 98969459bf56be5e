"""What is said of an error that nobody foresaw."""

from __future__ import annotations

import json

from workers.child import InfeasibleError, judge
from workers.errors import DivergedError, in_words


def caught(text: str) -> str:
    try:
        json.loads(text)
    except ValueError as error:
        return in_words(error)
    raise AssertionError("that was JSON")


def test_the_place_is_in_the_users_code_and_not_in_the_library_that_raised() -> None:
    assert caught("{").startswith("JSONDecodeError: Expecting property name")
    assert "(test_errors.py, line 13)" in caught("{")


def test_an_error_without_a_word_or_a_place_is_its_kind() -> None:
    assert in_words(KeyboardInterrupt()) == "KeyboardInterrupt"
    assert in_words(ValueError("a\n  b")) == "ValueError: a b"
    assert in_words(ValueError("x" * 900)) == "ValueError: " + "x" * 500


def test_a_password_in_an_address_is_not_repeated() -> None:
    error = OSError("API request to http://me:correct-horse@host/api?token=battery failed")
    assert in_words(error) == "OSError: API request to http://me:***@host/api?token=*** failed"


def test_neither_is_one_in_the_end_of_a_trial() -> None:
    for failure in (DivergedError("see http://me:correct-horse@host/x"), InfeasibleError("http://a:battery@b")):
        _, text = judge(failure)
        assert ":***@" in text
        assert "correct-horse" not in text
