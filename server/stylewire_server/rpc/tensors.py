"""Tensors of the Open Inference Protocol to pictures and back."""

import math
import struct
from collections.abc import Collection, Sequence

import numpy as np
from stylewire.oip import open_inference_pb2 as oip

from ..errors import InvalidInput, shortened
from ..options import Source

FP32 = "FP32"
BYTES = "BYTES"

MAX_BATCH = 256
"""Maximum pictures of one batch. The limit on pixels alone would allow thousands of tiny pictures."""

_REFUSED_EXTENSIONS = ("shared_memory_region", "classification")
"""Parameters of tensors in Triton's extensions "shared memory" and "classification"."""

_FLOAT_BYTES = 4
_LENGTH = struct.Struct("<I")

_FP32_TAG = bytes([oip.InferTensorContents.DESCRIPTOR.fields_by_name["fp32_contents"].number << 3 | 2])
"""Tag of the packed field `fp32_contents`: its number and wire type (protobuf's encoding guide)."""


def inputs(request: oip.ModelInferRequest, names: Sequence[str]) -> dict[str, list[Source]]:
    """Return the pictures of every input, by the name of the input.

    Raises:
        InvalidInput: An input is missing, unknown, given twice, or does not match its shape and datatype; or the
            request mixes raw and typed contents.
    """
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise InvalidInput(
            "raw_input_contents", f"raw_input_contents has {len(raw)} entries for {len(request.inputs)} inputs"
        )
    found: dict[str, list[Source]] = {}
    for index, tensor in enumerate(request.inputs):
        if tensor.name not in names:
            raise InvalidInput(
                "inputs", f"there is no input {shortened(tensor.name)}; the inputs are {', '.join(names)}"
            )
        check_extensions(tensor.name, tensor.parameters)
        if tensor.name in found:
            raise InvalidInput(tensor.name, f"input {tensor.name} comes twice")
        if raw and tensor.HasField("contents"):
            raise InvalidInput(tensor.name, f"input {tensor.name} has typed contents in a request with raw contents")
        found[tensor.name] = _pictures(tensor, raw[index] if raw else None)
    missing = [name for name in names if name not in found]
    if missing:
        raise InvalidInput(missing[0], f"input {missing[0]} is missing; the inputs are {', '.join(names)}")
    return found


def check_extensions(name: str, parameters: Collection[str]) -> None:
    """Refuse the extensions of Triton that would change where the contents of a tensor are, or what they mean.

    Raises:
        InvalidInput: A parameter of the tensor asks for shared memory or for a classification.
    """
    for extension in _REFUSED_EXTENSIONS:
        if extension in parameters:
            raise InvalidInput(
                name, f"tensor {name} has the parameter {extension}, which this server does not support; leave it out"
            )


def output(name: str, pictures: Sequence[bytes], shape: Sequence[int], raw: bool) -> oip.ModelInferResponse:
    """Return a response with one output, with raw or typed contents as in the request.

    Args:
        name: Name of the output.
        pictures: Rows of float32 pixels for a shape [N,H,W,3], encoded files for a shape [N].
        shape: Shape of the tensor.
        raw: True if the request had raw contents.
    """
    floats = len(shape) == 4
    tensor = oip.ModelInferResponse.InferOutputTensor(name=name, datatype=FP32 if floats else BYTES, shape=shape)
    response = oip.ModelInferResponse(outputs=[tensor])
    if raw:
        parts = pictures if floats else [part for file in pictures for part in (_LENGTH.pack(len(file)), file)]
        response.raw_output_contents.append(b"".join(parts))
    elif floats:
        response.outputs[0].contents.CopyFrom(_typed(b"".join(pictures)))
    else:
        response.outputs[0].contents.bytes_contents.extend(pictures)
    return response


def _pictures(tensor: oip.ModelInferRequest.InferInputTensor, raw: bytes | None) -> list[Source]:
    name, shape = tensor.name, list(tensor.shape)
    match tensor.datatype:
        case "FP32":
            return _floats(name, shape, tensor.contents, raw)
        case "BYTES":
            return _files(name, shape, tensor.contents, raw)
    given = f"is {shortened(tensor.datatype)}" if tensor.datatype else "has no datatype"
    raise InvalidInput(name, f"input {name} {given}; it must be {FP32} or {BYTES}")


def _floats(
    name: str, shape: list[int], contents: oip.InferTensorContents, raw: bytes | memoryview | None
) -> list[Source]:
    if len(shape) != 4 or shape[3] != 3 or min(shape) < 1:
        raise InvalidInput(name, f"input {name} has shape {shape}; FP32 pictures are [N,H,W,3], N, H and W from 1 up")
    _check_batch(name, shape[0])
    expected = math.prod(shape)
    if raw is None:
        _only(name, contents, "fp32_contents")
        raw = _untyped(contents)
    given = len(raw) / _FLOAT_BYTES
    if given != expected:
        raise InvalidInput(name, f"input {name} has {given:.12g} values; shape {shape} is {expected} values of FP32")
    return list(np.frombuffer(raw, "<f4").astype(np.float32, copy=False).reshape(shape))


def _typed(values: bytes) -> oip.InferTensorContents:
    """Return float32 values as typed contents.

    The message is built from its encoded bytes. Adding the values one by one would block every other thread, for
    seconds if the picture is large.
    """
    return oip.InferTensorContents.FromString(_FP32_TAG + _varint(len(values)) + values)


def _untyped(contents: oip.InferTensorContents) -> memoryview:
    """Return the little-endian float32 bytes of typed contents, which hold nothing else; the inverse of `_typed`."""
    size = len(contents.fp32_contents) * _FLOAT_BYTES
    start = len(_FP32_TAG) + len(_varint(size))
    return memoryview(contents.SerializeToString())[start : start + size]


def _varint(number: int) -> bytes:
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])


def _check_batch(name: str, count: int) -> None:
    if count > MAX_BATCH:
        raise InvalidInput(name, f"input {name} is a batch of {count:,} pictures; the limit is {MAX_BATCH} pictures")


def _files(name: str, shape: list[int], contents: oip.InferTensorContents, raw: bytes | None) -> list[Source]:
    if len(shape) not in (1, 2) or min(shape) < 1 or (len(shape) == 2 and shape[1] != 1):
        raise InvalidInput(name, f"input {name} has shape {shape}; BYTES pictures are [N] or [N,1], N from 1 up")
    _check_batch(name, shape[0])
    if raw is None:
        _only(name, contents, "bytes_contents")
        files = list(contents.bytes_contents)
    else:
        files = _split(name, raw, shape[0])
    if len(files) != shape[0]:
        number = f"more than {shape[0]}" if len(files) > shape[0] else len(files)
        raise InvalidInput(name, f"input {name} has {number} elements; shape {shape} is {shape[0]} elements")
    return list(files)


def _split(name: str, raw: bytes, count: int) -> list[bytes]:
    """Return the elements of a BYTES tensor, but stop after `count` + 1 elements."""
    files, at = [], 0
    while at < len(raw):
        end = at + _LENGTH.size
        if end <= len(raw):
            (length,) = _LENGTH.unpack_from(raw, at)
            at, end = end, end + length
        if end > len(raw):
            raise InvalidInput(
                name, f"input {name} ends within an element; each is its length as uint32, then its bytes"
            )
        files.append(raw[at:end])
        if len(files) > count:
            break
        at = end
    return files


def _only(name: str, contents: oip.InferTensorContents, expected: str) -> None:
    others = [field.name for field, _ in contents.ListFields() if field.name != expected]
    if others:
        raise InvalidInput(name, f"input {name} has {', '.join(others)}; its datatype goes with {expected}")
