"""Every error of the domain: it has statuses of both wires, it survives pickling, and its message is bounded."""

import inspect
import pickle
from http import HTTPStatus

import grpc
import pytest
from stylewire_server import errors
from stylewire_server.errors import InvalidInput, ResourceExhausted, ServiceError, shortened
from stylewire_server.statuses import STATUSES, status_of

CLASSES = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, ServiceError)]


def made(kind: type[ServiceError]) -> ServiceError:
    if issubclass(kind, InvalidInput):
        return kind("styles[1].weight", "weight is -1; it must be above 0")
    if issubclass(kind, ResourceExhausted):
        return kind("64 calls are waiting; the limit is 64 calls", 1.5)
    return kind("it went wrong")


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_has_a_status_of_its_own_or_of_a_base_class_that_is_not_the_root(kind: type[ServiceError]) -> None:
    status = status_of(made(kind))
    assert isinstance(status.grpc, grpc.StatusCode)
    assert status.http >= HTTPStatus.BAD_REQUEST
    named = [each for each in kind.__mro__ if each in STATUSES]
    assert kind is ServiceError or named[0] is not ServiceError


def test_a_new_subclass_has_the_status_of_its_base_class() -> None:
    class TooLarge(InvalidInput):
        pass

    class Nested(TooLarge):
        pass

    assert status_of(Nested("content", "too large")) == STATUSES[InvalidInput]


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_every_error_survives_pickling(kind: type[ServiceError], protocol: int) -> None:
    error = made(kind)
    copy = pickle.loads(pickle.dumps(error, protocol))
    assert type(copy) is kind
    assert (str(copy), vars(copy)) == (str(error), vars(error))


@pytest.mark.parametrize("text", ["a" * 10**7, "ü" * 10**7, "\ud800" * 10**4])
def test_no_message_is_long(text: str) -> None:
    assert len(str(ServiceError(text)).encode("utf-8", "replace")) < 1010
    assert len(str(ServiceError(f"there is no style {shortened(text)}"))) < 500


def test_a_short_value_is_shown_whole() -> None:
    assert shortened("waves") == "'waves'"
    assert shortened([1, 2]) == "[1, 2]"
