"""The types that the client promises to its callers."""

import inspect
import typing
from collections.abc import Iterator
from typing import Any, get_type_hints

import pytest
import stylewire


def signatures() -> Iterator[tuple[str, Any]]:
    """Yield every exported function and class, and the public methods and properties of the classes."""
    for name in stylewire.__all__:
        value = getattr(stylewire, name)
        if not callable(value) or typing.get_origin(value) is not None:
            continue
        yield name, value
        for attribute, member in vars(value).items() if inspect.isclass(value) else ():
            function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
            if inspect.isfunction(function) and (not attribute.startswith("_") or attribute == "__init__"):
                yield f"{name}.{attribute}", function


def has_any(hint: Any) -> bool:
    """Return True for Any, alone or anywhere inside of another type."""
    arguments = getattr(hint, "__args__", ()) or ()
    return hint is Any or any(has_any(each) for each in arguments if each is not hint)


@pytest.mark.parametrize(("name", "value"), list(signatures()), ids=lambda each: each if isinstance(each, str) else "")
def test_no_public_signature_has_any(name: str, value: Any) -> None:
    hints = get_type_hints(value)
    assert [parameter for parameter, hint in hints.items() if has_any(hint)] == []
    if inspect.isfunction(value):
        assert set(inspect.signature(value).parameters) - {"self", "cls"} <= hints.keys()


def test_any_is_found_where_it_hides() -> None:
    def hidden(first: dict[str, list[Any]]) -> int | Any: ...

    assert [name for name, hint in get_type_hints(hidden).items() if has_any(hint)] == ["first", "return"]
    assert not has_any(dict[str, int])
