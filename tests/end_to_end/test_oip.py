"""The Open Inference Protocol, message by message."""

import io
import struct
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from PIL import Image
from stylewire import Client
from stylewire.errors import from_rpc_error
from stylewire.oip import open_inference_pb2 as oip
from stylewire.oip import open_inference_pb2_grpc

PARAMETERS = {"strength", "preserve_color", "fit", "size", "style"}

Tensor = oip.ModelInferRequest.InferInputTensor


@pytest.fixture(scope="module")
def stub(server) -> Iterator[open_inference_pb2_grpc.GRPCInferenceServiceStub]:
    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(server.target, options) as channel:
        yield open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)


def floats(path: Path, width: int, height: int) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((width, height)), np.float32) / 255


def packed(*files: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(file)) + file for file in files)


def raw_request(content: np.ndarray, style: np.ndarray, /, **parameters: oip.InferParameter) -> oip.ModelInferRequest:
    return oip.ModelInferRequest(
        model_name="stylewire",
        id="7",
        parameters=parameters,
        inputs=[
            Tensor(name="content", datatype="FP32", shape=content.shape),
            Tensor(name="style", datatype="FP32", shape=style.shape),
        ],
        raw_input_contents=[content.astype("<f4").tobytes(), style.astype("<f4").tobytes()],
    )


def pixels(response: oip.ModelInferResponse) -> np.ndarray:
    (output,) = response.outputs
    return np.frombuffer(response.raw_output_contents[0], "<f4").reshape(tuple(output.shape))


@pytest.fixture(scope="module")
def content(photo: Path) -> np.ndarray:
    return floats(photo, 98, 70)[np.newaxis]


@pytest.fixture(scope="module")
def style(style_picture: Path) -> np.ndarray:
    return floats(style_picture, 200, 140)[np.newaxis]


def test_what_the_server_says_of_itself(stub, client: Client) -> None:
    assert stub.ServerLive(oip.ServerLiveRequest(), timeout=20).live
    assert stub.ServerReady(oip.ServerReadyRequest(), timeout=20).ready
    assert stub.ModelReady(oip.ModelReadyRequest(name="stylewire"), timeout=20).ready
    model = client.model()
    server = stub.ServerMetadata(oip.ServerMetadataRequest(), timeout=20)
    assert (server.name, server.version) == ("stylewire", model.version)
    found = stub.ModelMetadata(oip.ModelMetadataRequest(name="stylewire", version=model.edition), timeout=20)
    assert list(found.versions) == [model.edition]
    described = [(each.name, each.datatype, list(each.shape)) for each in (*found.inputs, *found.outputs)]
    assert described == [(name, "FP32", [-1, -1, -1, 3]) for name in ("content", "style", "stylized")]


def test_floats_come_back_as_floats_of_their_own_size(stub, content: np.ndarray, style: np.ndarray) -> None:
    response = stub.ModelInfer(raw_request(content, style), timeout=60)
    assert (response.model_name, response.model_version, response.id) == ("stylewire", "lite", "7")
    assert (response.outputs[0].name, response.outputs[0].datatype) == ("stylized", "FP32")
    result = pixels(response)
    assert result.shape == content.shape
    assert result.min() >= 0 and result.max() <= 1
    assert result.std() > 0.05
    assert np.abs(result - content).mean() > 0.05


def test_floats_give_what_the_same_pixels_as_bytes_give(
    stub, client: Client, content: np.ndarray, style: np.ndarray
) -> None:
    result = pixels(stub.ModelInfer(raw_request(content, style), timeout=60))[0]
    as_bytes = [np.rint(each[0] * 255).astype(np.uint8) for each in (content, style)]
    expected = np.asarray(client.stylize(*as_bytes, fit="native", encoding="raw"), np.float32) / 255
    assert np.abs(result - expected).mean() < 0.01


def test_typed_contents_give_the_same_and_come_back_typed(stub, content: np.ndarray, style: np.ndarray) -> None:
    raw = raw_request(content, style)
    typed = oip.ModelInferRequest(model_name="stylewire", inputs=raw.inputs)
    for tensor, values in zip(typed.inputs, (content, style), strict=True):
        tensor.contents.fp32_contents.extend(values.reshape(-1))
    response = stub.ModelInfer(typed, timeout=60)
    assert not response.raw_output_contents
    result = np.array(response.outputs[0].contents.fp32_contents, np.float32).reshape(content.shape)
    np.testing.assert_array_equal(result, pixels(stub.ModelInfer(raw, timeout=60)))


def test_files_come_back_as_files_of_their_format(stub, client: Client, photo: Path, style_picture: Path) -> None:
    files = photo.read_bytes(), style_picture.read_bytes()
    request = oip.ModelInferRequest(
        model_name="stylewire",
        inputs=[Tensor(name=name, datatype="BYTES", shape=[1]) for name in ("content", "style")],
        raw_input_contents=[packed(file) for file in files],
    )
    response = stub.ModelInfer(request, timeout=60)
    assert (response.outputs[0].datatype, list(response.outputs[0].shape)) == ("BYTES", [1])
    (length,) = struct.unpack_from("<I", response.raw_output_contents[0])
    data = response.raw_output_contents[0][4:]
    assert length == len(data)
    assert data == client.stylize_detailed(*files).data
    request.parameters["fit"].string_param = "native"
    native = stub.ModelInfer(request, timeout=60).raw_output_contents[0][4:]
    assert Image.open(io.BytesIO(native)).size == (512, 512)
    request.parameters["fit"].string_param = "crop"
    for kind in ({"int64_param": 320}, {"string_param": "320"}):
        request.parameters["size"].CopyFrom(oip.InferParameter(**kind))
        larger = stub.ModelInfer(request, timeout=60).raw_output_contents[0][4:]
        assert Image.open(io.BytesIO(larger)).size == (320, 320)
    for kind, told in (({"int64_param": 63}, "63"), ({"double_param": 100.5}, "100.5"), ({"string_param": "x"}, "'x'")):
        request.parameters["size"].CopyFrom(oip.InferParameter(**kind))
        with pytest.raises(grpc.RpcError) as caught:
            stub.ModelInfer(request, timeout=20)
        assert f"size is {told}; it must be a whole number from 64 to 4096 px" in caught.value.details()

    typed = oip.ModelInferRequest(model_name="stylewire", inputs=request.inputs)
    for tensor, file in zip(typed.inputs, files, strict=True):
        tensor.contents.bytes_contents.append(file)
    assert list(stub.ModelInfer(typed, timeout=60).outputs[0].contents.bytes_contents) == [data]


def test_a_batch_is_its_pictures_one_by_one(stub, photo: Path, style: np.ndarray, other_style_picture: Path) -> None:
    with Image.open(photo) as image:
        turned = np.asarray(image.convert("RGB").rotate(90).resize((64, 64)), np.float32) / 255
    contents = np.stack([floats(photo, 64, 64), turned])
    styles = np.concatenate([style, floats(other_style_picture, 200, 140)[np.newaxis]])
    together = pixels(stub.ModelInfer(raw_request(contents, styles), timeout=60))
    shared = pixels(stub.ModelInfer(raw_request(contents, style), timeout=60))
    for index in range(2):
        alone = raw_request(contents[index : index + 1], styles[index : index + 1])
        np.testing.assert_array_equal(together[index], pixels(stub.ModelInfer(alone, timeout=60))[0])
    np.testing.assert_array_equal(shared[0], together[0])
    assert np.abs(shared[1] - together[1]).mean() > 0.02


@pytest.mark.parametrize(
    "parameter",
    [
        oip.InferParameter(double_param=0.0),
        oip.InferParameter(int64_param=0),
        oip.InferParameter(uint64_param=0),
        oip.InferParameter(string_param="0.0"),
    ],
    ids=lambda parameter: parameter.WhichOneof("parameter_choice"),
)
def test_strength_in_every_form(stub, content: np.ndarray, style: np.ndarray, parameter: oip.InferParameter) -> None:
    full = pixels(stub.ModelInfer(raw_request(content, style), timeout=60))
    none = pixels(stub.ModelInfer(raw_request(content, style, strength=parameter), timeout=60))
    own = pixels(stub.ModelInfer(raw_request(content, content), timeout=60))
    np.testing.assert_allclose(none, own, atol=1e-3)
    assert np.abs(none - full).mean() > 0.02


def test_preserve_color(stub, content: np.ndarray, style: np.ndarray) -> None:
    parameter = oip.InferParameter(bool_param=True)
    kept = pixels(stub.ModelInfer(raw_request(content, style, preserve_color=parameter), timeout=60))
    free = pixels(stub.ModelInfer(raw_request(content, style), timeout=60))

    def blue(picture: np.ndarray) -> np.ndarray:
        return picture[..., 2] - picture @ np.array([0.299, 0.587, 0.114], np.float32)

    assert np.abs(blue(kept) - blue(content)).mean() < np.abs(blue(free) - blue(content)).mean() / 2


def test_a_kept_style_is_named_by_a_parameter(stub, client: Client, content: np.ndarray, style_picture: Path) -> None:
    client.styles.create("oip-kept", style_picture)
    request = raw_request(content, content, style=oip.InferParameter(string_param="oip-kept"))
    del request.inputs[1], request.raw_input_contents[1]
    try:
        named = pixels(stub.ModelInfer(request, timeout=60))
        pixel_values = np.rint(content[0] * 255).astype(np.uint8)
        expected = client.stylize(pixel_values, "oip-kept", fit="native", encoding="raw")
        assert np.abs(named[0] - np.asarray(expected, np.float32) / 255).mean() < 0.01
        batch = raw_request(np.repeat(content, 2, axis=0), content, **request.parameters)
        del batch.inputs[1], batch.raw_input_contents[1]
        np.testing.assert_allclose(pixels(stub.ModelInfer(batch, timeout=60))[1], named[0], atol=1e-5)
    finally:
        client.styles.delete("oip-kept")
    with pytest.raises(grpc.RpcError, match="oip-kept") as caught:
        stub.ModelInfer(request, timeout=20)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_a_stream_answers_in_order_and_outlives_a_bad_request(stub, content: np.ndarray, style: np.ndarray) -> None:
    """Frames of several sizes, so that some are done before those that came earlier."""
    frames = [np.repeat(np.repeat(content, scale, axis=1), scale, axis=2) for scale in (4, 1, 3, 1, 2)]
    requests = [raw_request(frame, style) for frame in frames]
    for index, request in enumerate(requests):
        request.id = f"frame {index}"
    bad = raw_request(content * np.nan, style)
    bad.id = "bad"
    answers = list(stub.ModelStreamInfer(iter([*requests[:2], bad, *requests[2:]]), timeout=60))
    ids = [each.infer_response.id for each in answers]
    assert ids == ["frame 0", "frame 1", "bad", "frame 2", "frame 3", "frame 4"]
    refused = answers.pop(2)
    assert "nan" in refused.error_message
    assert not refused.infer_response.outputs
    for frame, answer, request in zip(frames, answers, requests, strict=True):
        assert not answer.error_message
        result = pixels(answer.infer_response)
        assert result.shape == frame.shape
        np.testing.assert_allclose(result, pixels(stub.ModelInfer(request, timeout=60)), atol=1e-5)


def broken(content: np.ndarray, style: np.ndarray) -> dict[str, tuple[oip.ModelInferRequest, str, str]]:
    """Name -> request, status, a part of the message."""
    bad = "INVALID_ARGUMENT"

    def changed(change) -> oip.ModelInferRequest:
        request = raw_request(content, style)
        change(request)
        return request

    def first(**fields: object):
        def change(request: oip.ModelInferRequest) -> None:
            for name, value in fields.items():
                if name == "shape":
                    request.inputs[0].shape[:] = value
                else:
                    setattr(request.inputs[0], name, value)

        return changed(change)

    def with_value(value: float) -> oip.ModelInferRequest:
        spoiled = content.copy()
        spoiled[0, 3, 4, 1] = value
        return raw_request(spoiled, style)

    def mixed(request: oip.ModelInferRequest) -> None:
        request.inputs[0].contents.fp32_contents.append(0.0)

    def strength(**value: object) -> oip.ModelInferRequest:
        return raw_request(content, style, strength=oip.InferParameter(**value))

    text = oip.InferParameter(string_param="x")
    three = np.repeat(content, 3, axis=0)
    return {
        "unknown model": (changed(lambda r: setattr(r, "model_name", "other")), "NOT_FOUND", "'other'"),
        "unknown version": (changed(lambda r: setattr(r, "model_version", "9")), "NOT_FOUND", "'9'"),
        "no inputs": (oip.ModelInferRequest(model_name="stylewire"), bad, "content is missing"),
        "one input": (changed(lambda r: (r.inputs.pop(), r.raw_input_contents.pop())), bad, "style is missing"),
        "unknown input": (first(name="picture"), bad, "'picture'"),
        "input twice": (first(name="style"), bad, "comes twice"),
        "unknown output": (changed(lambda r: r.outputs.add(name="x")), bad, "'x'"),
        "shared memory in": (
            changed(lambda r: r.inputs[0].parameters["shared_memory_region"].CopyFrom(text)),
            bad,
            "tensor content has the parameter shared_memory_region, which this server does not support",
        ),
        "shared memory out": (
            changed(lambda r: r.outputs.add(name="stylized").parameters["shared_memory_region"].CopyFrom(text)),
            bad,
            "tensor stylized has the parameter shared_memory_region",
        ),
        "datatype": (first(datatype="UINT8"), bad, "is 'UINT8'"),
        "no datatype": (first(datatype=""), bad, "no datatype"),
        "rank": (first(shape=[98, 70, 3]), bad, "shape [98, 70, 3]"),
        "channels": (first(shape=[1, 98, 70, 4]), bad, "[N,H,W,3]"),
        "negative shape": (first(shape=[1, -1, 70, 3]), bad, "from 1 up"),
        "zero shape": (first(shape=[0, 98, 70, 3]), bad, "from 1 up"),
        "overflow": (first(shape=[2**40, 2**40, 2**40, 3]), bad, "the limit is 256 pictures"),
        "too few values": (first(shape=[1, 70, 99, 3]), bad, "20580 values"),
        "half a value": (
            changed(lambda r: r.raw_input_contents.__setitem__(0, r.raw_input_contents[0][:-1])),
            bad,
            "20579.75 values",
        ),
        "mixed": (changed(mixed), bad, "typed contents in a request with raw"),
        "too few raw": (changed(lambda r: r.raw_input_contents.pop()), bad, "1 entries for 2 inputs"),
        "no contents": (changed(lambda r: r.ClearField("raw_input_contents")), bad, "0 values"),
        "nan": (with_value(float("nan")), bad, "nan"),
        "infinity": (with_value(float("inf")), bad, "inf"),
        "above 1": (with_value(255.0), bad, "from 0 to 1"),
        "below 0": (with_value(-0.1), bad, "-0.1"),
        "too small": (raw_request(content[:, :4, :4], style), bad, "at least 16 px"),
        "second of a batch": (
            raw_request(np.concatenate([content, content + 1.5]), style),
            bad,
            "picture 1 of the batch: content has values from 1.5",
        ),
        "batches": (raw_request(three, np.repeat(style, 2, axis=0)), bad, "batch of 2"),
        "strength": (strength(double_param=1.5), bad, "strength is 1.5; it must be a number from 0 to 1"),
        "strength nan": (strength(double_param=float("nan")), bad, "strength is nan"),
        "strength text": (strength(string_param="much"), bad, "strength is 'much'"),
        "strength bool": (strength(bool_param=True), bad, "strength is True"),
        "strength unset": (strength(), bad, "strength is None"),
        "preserve_color": (
            raw_request(content, style, preserve_color=oip.InferParameter(string_param="yes")),
            bad,
            "preserve_color is 'yes'; it must be a bool_param",
        ),
        "size": (
            raw_request(content, style, size=oip.InferParameter(int64_param=512)),
            bad,
            "size is 512; FP32 contents keep their size",
        ),
        "style": (
            raw_request(content, style, style=oip.InferParameter(string_param="wave")),
            bad,
            "style is both an input and a parameter; give one of them",
        ),
        "fit number": (raw_request(content, style, fit=oip.InferParameter(int64_param=7)), bad, "fit is '7'"),
        "fit": (raw_request(content, style, fit=oip.InferParameter(string_param="crop")), bad, "leave it out"),
        "bytes end early": (
            oip.ModelInferRequest(
                model_name="stylewire",
                inputs=[Tensor(name=name, datatype="BYTES", shape=[1]) for name in ("content", "style")],
                raw_input_contents=[b"\xff\xff\xff\xff12", packed(b"x")],
            ),
            bad,
            "ends within an element",
        ),
        "bytes count": (
            oip.ModelInferRequest(
                model_name="stylewire",
                inputs=[Tensor(name=name, datatype="BYTES", shape=[2]) for name in ("content", "style")],
                raw_input_contents=[packed(b"x"), packed(b"x")],
            ),
            bad,
            "has 1 elements",
        ),
        "not a picture": (
            oip.ModelInferRequest(
                model_name="stylewire",
                inputs=[Tensor(name=name, datatype="BYTES", shape=[1]) for name in ("content", "style")],
                raw_input_contents=[packed(b"text"), packed(b"text")],
            ),
            bad,
            "not a JPEG, PNG or WebP",
        ),
    }


def test_what_is_wrong_is_told(stub, content: np.ndarray, style: np.ndarray) -> None:
    for name, (request, code, message) in broken(content, style).items():
        with pytest.raises(grpc.RpcError) as caught:
            stub.ModelInfer(request, timeout=20)
        assert caught.value.code().name == code, name
        assert message in caught.value.details(), name
        if name.split()[0] in PARAMETERS:
            assert from_rpc_error(caught.value, "").field == f"parameters.{name.split()[0]}"
    assert pixels(stub.ModelInfer(raw_request(content, style), timeout=60)).shape == content.shape


@pytest.mark.parametrize("name", ["", "lite", "nothing"])
def test_unknown_models_are_not_found(stub, name: str) -> None:
    for ask in (
        lambda: stub.ModelReady(oip.ModelReadyRequest(name=name), timeout=20),
        lambda: stub.ModelMetadata(oip.ModelMetadataRequest(name=name), timeout=20),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            ask()
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_a_batch_has_the_pixel_limit_of_one_picture(start_server, style: np.ndarray) -> None:
    running = start_server("--model", "lite", "--max-pixels", "1000000")
    contents = np.zeros((20, 256, 256, 3), np.float32)
    with grpc.insecure_channel(running.target) as channel, pytest.raises(grpc.RpcError) as caught:
        infer = open_inference_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer
        infer(raw_request(contents, style), timeout=60)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "1,310,720 px; the limit is 1,000,000 px" in caught.value.details()
    assert running.stop() == 0


def files_request(
    contents: list[bytes], styles: list[bytes], **parameters: oip.InferParameter
) -> oip.ModelInferRequest:
    return oip.ModelInferRequest(
        model_name="stylewire",
        parameters=parameters,
        inputs=[
            Tensor(name=name, datatype="BYTES", shape=[len(files)])
            for name, files in (("content", contents), ("style", styles))
        ],
        raw_input_contents=[packed(*contents), packed(*styles)],
    )


def test_a_batch_of_files_has_it_too(stub, style_picture: Path) -> None:
    out = io.BytesIO()
    Image.new("RGB", (1400, 1400), (20, 120, 220)).save(out, "JPEG")
    contents, styles = [out.getvalue()] * 3, [style_picture.read_bytes()]
    native = oip.InferParameter(string_param="native")
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(files_request(contents, styles, fit=native), timeout=60)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "the batch of 3 is 5,880,000 px; the limit is 4,194,304 px" in caught.value.details()
    assert list(stub.ModelInfer(files_request(contents[:2], styles, fit=native), timeout=60).outputs[0].shape) == [2]
    # By the size at which they reach the network, not at which they come.
    assert list(stub.ModelInfer(files_request(contents, styles), timeout=60).outputs[0].shape) == [3]


def test_what_a_batch_takes_to_decode_is_bounded(start_server, photo: Path, style_picture: Path) -> None:
    """The bound is four times the limit of one picture, at the sizes in the files."""
    running = start_server("--model", "lite", "--max-decode-pixels", "300000", "--max-styles", "2")
    contents, styles = [photo.read_bytes()] * 3, [style_picture.read_bytes()] * 3
    with grpc.insecure_channel(running.target) as channel:
        infer = open_inference_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer
        assert list(infer(files_request(contents, styles[:1]), timeout=60).outputs[0].shape) == [3]
        with pytest.raises(grpc.RpcError) as caught:
            infer(files_request(contents, styles), timeout=60)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "the batch is 1.6 Mpx to decode, styles included; the limit is 1.2 Mpx" in caught.value.details()
    assert running.stop() == 0


def long_words(word: str, content: np.ndarray, style: np.ndarray) -> dict[str, tuple[oip.ModelInferRequest, str]]:
    """Return position of a caller's text in an error -> request, status."""
    bad = "INVALID_ARGUMENT"
    found = {
        name: (raw_request(content, style), "NOT_FOUND" if name.startswith("model") else bad)
        for name in ("model", "model version", "input", "datatype", "output", "shape")
    }
    found["model"][0].model_name = word
    found["model version"][0].model_version = word
    found["input"][0].inputs[0].name = word
    found["datatype"][0].inputs[0].datatype = word
    found["output"][0].outputs.add(name=word)
    found["shape"][0].inputs[0].shape[:] = [1] * len(word)
    for name in ("fit", "strength"):
        found[name] = raw_request(content, style, **{name: oip.InferParameter(string_param=word)}), bad
    return found


@pytest.mark.parametrize("letter", ["m", "漢", "😀", "%"])
def test_long_words_of_the_caller_do_not_hide_what_is_wrong(
    stub, content: np.ndarray, style: np.ndarray, letter: str
) -> None:
    """Error messages travel in headers, of which clients take 8 kB. Texts above 1,024 bytes are refused as such."""
    seen = {}
    for count in (250, 20_000):
        for name, (request, code) in long_words(letter * count, content, style).items():
            with pytest.raises(grpc.RpcError) as caught:
                stub.ModelInfer(request, timeout=20)
            seen[name, count] = caught.value.code().name, code if count == 250 else "INVALID_ARGUMENT"
    assert [name for name, (found, code) in seen.items() if found != code] == []
