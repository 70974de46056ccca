import inspect

from pantheon import errors
from pantheon.api.problems import STATUS
from pantheon.errors import CallerError, OutsideError, PantheonError

CLASSES = {error for _, error in inspect.getmembers(errors, inspect.isclass) if issubclass(error, PantheonError)}


def test_every_error_has_a_status() -> None:
    assert set(STATUS) == CLASSES


def test_the_status_says_whose_fault_it_is() -> None:
    for error, status in STATUS.items():
        if issubclass(error, CallerError):
            assert 400 <= status < 500, error
        elif issubclass(error, OutsideError):
            assert status in (502, 503, 504), error
        else:
            assert status == 500, error


def test_a_code_names_one_error() -> None:
    """Only what is ours to mend shares one: the caller learns nothing of it."""
    codes = [error.code for error in CLASSES if STATUS[error] != 500]

    assert sorted(codes) == sorted(set(codes))
    assert all(code == code.lower() and code.replace("_", "").isalpha() for code in codes)
