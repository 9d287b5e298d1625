"""Bounds on a message, checked on its bytes before they are parsed.

A parsed message takes up to 50 times the bytes that it had on the wire: an empty sub-message is 2 bytes there and 100
in memory. So the elements of repeated fields are counted first. The scan reads only the tags and lengths of the fields
and skips their contents (protobuf's encoding guide). It stops at a fixed number of fields, so its own cost is bounded
too.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError

from ..errors import InvalidInput

MAX_STRING_BYTES = 1024
"""Maximum bytes of a text in a message. The longest useful text is the name of a style."""

MAX_ELEMENTS = 64
"""Maximum elements of a repeated field that has no limit of its own."""

MAX_FIELDS = 1024
"""Maximum fields of a message, sub-messages included, without the fields of its styles."""

_FIELDS_OF_A_STYLE = 16

_MAX_VARINT_BYTES = 10

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
"""Wire types. No message here has groups, types 3 and 4."""

_FIXED_WIDTH = frozenset(
    {
        FieldDescriptor.TYPE_FLOAT,
        FieldDescriptor.TYPE_DOUBLE,
        FieldDescriptor.TYPE_FIXED32,
        FieldDescriptor.TYPE_FIXED64,
        FieldDescriptor.TYPE_SFIXED32,
        FieldDescriptor.TYPE_SFIXED64,
    }
)
"""Types whose packed elements take as many bytes in memory as on the wire."""


class MessageBounds:
    """The bounds of the messages of one server.

    Args:
        max_styles: Maximum styles of one request.
        max_batch: Maximum pictures of one batch of the Open Inference Protocol.
    """

    def __init__(self, max_styles: int, max_batch: int) -> None:
        self._max_fields = MAX_FIELDS + _FIELDS_OF_A_STYLE * max_styles
        self._elements: Mapping[str, int] = {
            "stylewire.v1.StylizeRequest.styles": max_styles,
            "stylewire.v1.StreamSetup.styles": max_styles,
            "stylewire.v1.CreateStyleRequest.styles": max_styles,
            "inference.ModelInferRequest.InferInputTensor.shape": 8,
            "inference.ModelInferRequest.inputs": 8,
            "inference.ModelInferRequest.outputs": 8,
            "inference.ModelInferRequest.raw_input_contents": 8,
            "inference.InferTensorContents.bytes_contents": max_batch,
        }

    def checked(self, method: str, deserialize: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
        """Return a deserializer that checks the bounds first.

        Args:
            method: Full name of the method, such as /stylewire.v1.Stylizer/Stylize.
            deserialize: Parses a message of that method.
        """
        descriptor = _request_of(method)

        def check_and_deserialize(data: bytes) -> Any:
            self.check(data, descriptor)
            return deserialize(data)

        return check_and_deserialize

    def check(self, data: bytes, descriptor: Descriptor | None) -> None:
        """Check the bounds of a message.

        Args:
            data: Bytes of the message.
            descriptor: Type of the message; None to bound only the number of fields.

        Raises:
            InvalidInput: A repeated field has too many elements, a text too many bytes, or there are too many fields.
            DecodeError: The bytes are not a message.
        """
        _Scan(data, self._elements, self._max_fields).message(descriptor, 0, len(data), "")


class _Scan:
    """One pass over a message."""

    def __init__(self, data: bytes, elements: Mapping[str, int], max_fields: int) -> None:
        self._data = data
        self._elements = elements
        self._max_fields = max_fields
        self._left = max_fields

    def message(self, descriptor: Descriptor | None, at: int, end: int, path: str) -> None:
        """Scan the fields of a message, or of a part of one, between two places in the bytes."""
        counts: dict[int, int] = {}
        excess: FieldDescriptor | None = None
        while at < end:
            tag, at = self._varint(at, end)
            number, wire_type = tag >> 3, tag & 7
            field = None if descriptor is None else descriptor.fields_by_number.get(number)
            start, at = self._value(wire_type, at, end)
            self._left -= 1
            if field is not None and _is_repeated(field):
                counts[number] = counts.get(number, 0) + 1
                if counts[number] > self._limit(field):
                    excess = field
            if self._left < 0 and excess is None:
                raise InvalidInput(
                    path, f"the message has more than {self._max_fields:,} fields; the limit is {self._max_fields:,}"
                )
            if excess is not None:
                # The other elements are only counted, so that the error can name their number.
                if self._left < 0:
                    break
                continue
            if field is not None and wire_type == _BYTES:
                self._content(field, start, at, path, counts.get(number))
        if excess is not None:
            at_least = "more than " if self._left < 0 else ""
            self._refuse(excess, counts[excess.number], path, at_least)

    def _content(self, field: FieldDescriptor, start: int, end: int, parent: str, count: int | None) -> None:
        is_packed = count is not None and not _is_length_delimited(field)
        name = field.name if count is None or is_packed else f"{field.name}[{count - 1}]"
        path = f"{parent}.{name}" if parent else name
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            self.message(field.message_type, start, end, path)
        elif field.type == FieldDescriptor.TYPE_STRING:
            if end - start > MAX_STRING_BYTES:
                raise InvalidInput(
                    path, f"{path} has {end - start:,} bytes; the limit is {MAX_STRING_BYTES:,} bytes of text"
                )
        elif is_packed and field.type not in _FIXED_WIDTH:
            # Packed varints, each of up to ten bytes on the wire.
            limit = self._limit(field)
            if end - start > limit * _MAX_VARINT_BYTES:
                raise InvalidInput(
                    path, f"{path} has {end - start:,} bytes of elements; the limit is {limit:,} elements"
                )

    def _limit(self, field: FieldDescriptor) -> int:
        return self._elements.get(field.full_name, MAX_ELEMENTS)

    def _refuse(self, field: FieldDescriptor, count: int, path: str, at_least: str) -> None:
        name, limit = field.name, self._limit(field)
        path = f"{path}.{name}" if path else name
        raise InvalidInput(path, f"{path} has {at_least}{count:,} {_noun(name)}; the limit is {limit:,} {_noun(name)}")

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        value = shift = 0
        while at < end and shift < 7 * _MAX_VARINT_BYTES:
            byte = self._data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, at
            shift += 7
        raise DecodeError("a varint is cut short or too long")

    def _value(self, wire_type: int, at: int, end: int) -> tuple[int, int]:
        """Return where a field's content begins and where it ends."""
        start = at
        if wire_type == _BYTES:
            length, start = self._varint(at, end)
            at = start + length
        elif wire_type == _VARINT:
            _, at = self._varint(at, end)
        elif wire_type == _FIXED64:
            at += 8
        elif wire_type == _FIXED32:
            at += 4
        else:
            raise DecodeError(f"wire type {wire_type} is in no message of this server")
        if at > end:
            raise DecodeError("a field is cut short")
        return start, at


def _is_length_delimited(field: FieldDescriptor) -> bool:
    kinds = (FieldDescriptor.TYPE_MESSAGE, FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES)
    return field.type in kinds


def _noun(name: str) -> str:
    return name if name in {"styles", "inputs", "outputs", "parameters"} else "elements"


def _is_repeated(field: FieldDescriptor) -> bool:
    # protobuf 5 has only the label, and 7 only the property.
    found = getattr(field, "is_repeated", None)
    return getattr(field, "label", 0) == _LABEL_REPEATED if found is None else bool(found)


_LABEL_REPEATED = 3


@lru_cache(maxsize=256)
def _request_of(method: str) -> Descriptor | None:
    """Return the type of a method's requests; None for a method whose contract is not in the pool."""
    try:
        found = descriptor_pool.Default().FindMethodByName(method.strip("/").replace("/", "."))
    except KeyError:
        return None
    return found.input_type
