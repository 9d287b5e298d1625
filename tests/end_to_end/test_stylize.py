"""Stylize and GetModel over a real socket, with the client and with bare gRPC."""

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from PIL import Image
from stylewire import Client, InvalidRequest, WeightedStyle
from stylewire.v1 import stylizer_pb2 as pb
from stylewire.v1 import stylizer_pb2_grpc

SERVICE = "stylewire.v1.Stylizer"


def test_a_path_and_a_path_give_a_picture(client: Client, photo: Path, style_picture: Path) -> None:
    picture = client.stylize(photo, style_picture)
    assert (picture.size, picture.mode, picture.format) == ((256, 256), "RGB", "JPEG")
    with Image.open(photo) as original:
        plain = np.asarray(original.convert("RGB").resize((256, 256)), int)
    assert np.abs(np.asarray(picture, int) - plain).mean() > 20


def test_every_kind_of_input_gives_the_same_picture(client: Client, photo: Path, style_picture: Path) -> None:
    with Image.open(photo) as image:
        image.load()
    array = np.asarray(image)
    style = style_picture.read_bytes()
    as_array = np.asarray(client.stylize(array, style, encoding="raw", fit="native"))
    as_pil = np.asarray(client.stylize(image, style, encoding="raw", fit="native"))
    as_bytes = np.asarray(client.stylize(photo.read_bytes(), style_picture, encoding="raw", fit="native"))
    np.testing.assert_array_equal(as_array, as_pil)
    np.testing.assert_array_equal(as_array, as_bytes)


@pytest.mark.parametrize(("encoding", "form"), [("png", "PNG"), ("jpeg", "JPEG"), ("webp", "WEBP"), ("raw", None)])
@pytest.mark.parametrize(("fit", "size"), [("crop", (256, 256)), ("squash", (256, 256)), ("native", (512, 341))])
def test_fits_and_encodings(
    client: Client, photo: Path, style_picture: Path, encoding: str, form: str | None, fit: str, size: tuple[int, int]
) -> None:
    picture = client.stylize(photo.with_name("coffee.jpg"), style_picture, encoding=encoding, fit=fit)
    assert (picture.size, picture.format) == (size, form)


def test_keep_fit_has_shorter_side_256(client: Client, photo: Path, style_picture: Path) -> None:
    assert client.stylize(photo.with_name("coffee.jpg"), style_picture, fit="keep").size == (384, 256)


def test_a_size_gives_larger_pictures_and_never_enlarges(client: Client, photo: Path, style_picture: Path) -> None:
    coffee = photo.with_name("coffee.jpg")  # 512x341 px
    assert client.stylize(coffee, style_picture, fit="keep", size=300).size == (450, 300)
    assert client.stylize(coffee, style_picture, size=300).size == (300, 300)
    assert client.stylize(coffee, style_picture, fit="squash", size=4096).size == (341, 341)
    with pytest.raises(InvalidRequest, match=r"size is 300 px and fit is native.*leave size out") as caught:
        client.stylize(coffee, style_picture, fit="native", size=300)
    assert caught.value.field == "options.size"


def test_full_size_and_masks_through_the_wire(client: Client, photo: Path, style_picture: Path) -> None:
    coffee = photo.with_name("coffee.jpg")  # 512x341 px
    assert client.stylize(coffee, style_picture, fit="keep", size=128, full_size=True).size == (512, 341)
    mask = np.zeros((34, 51, 3), np.uint8)
    mask[:, :25] = 255
    half = np.asarray(
        client.stylize(coffee, WeightedStyle(style_picture, mask=mask), fit="native", encoding="raw"), int
    )
    with Image.open(coffee) as image:
        content = np.asarray(image.convert("RGB"), int)
    assert np.abs(half[:, 280:] - content[:, 280:]).max() == 0
    assert np.abs(half[:, :230] - content[:, :230]).mean() > 20


@pytest.mark.parametrize("size", [63, 4097, 2**31])
def test_a_size_outside_its_bounds_is_refused_by_the_server(
    server, photo: Path, style_picture: Path, size: int
) -> None:
    with grpc.insecure_channel(server.target) as channel:
        request = pb.StylizeRequest(
            content=pb.Image(encoded=photo.read_bytes()),
            styles=[pb.WeightedStyle(image=pb.Image(encoded=style_picture.read_bytes()))],
            options=pb.StylizeOptions(size=size),
        )
        with pytest.raises(grpc.RpcError) as caught:
            stylizer_pb2_grpc.StylizerStub(channel).Stylize(request, timeout=30)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert f"size is {size} px; it must be from 64 to 4096 px" in caught.value.details()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_the_answer_comes_in_the_contents_own_format(client: Client, style_picture: Path, form: str) -> None:
    out = io.BytesIO()
    Image.new("RGB", (80, 60), (90, 160, 40)).save(out, form)
    assert client.stylize(out.getvalue(), style_picture).format == form


def test_blends_and_strength(client: Client, photo: Path, style_picture: Path, other_style_picture: Path) -> None:
    def picture(style: object, **options: object) -> np.ndarray:
        return np.asarray(client.stylize(photo, style, encoding="raw", **options), int)

    first, second = picture(style_picture), picture(other_style_picture)
    np.testing.assert_array_equal(first, picture({style_picture: 5.0}))
    half = picture({style_picture: 1, other_style_picture: 1})
    np.testing.assert_array_equal(half, picture([style_picture, other_style_picture]))
    assert np.abs(half - first).mean() > 5
    assert np.abs(half - second).mean() > 5
    np.testing.assert_array_equal(first, picture(style_picture, strength=1.0))
    assert np.abs(picture(style_picture, strength=0.3) - first).mean() > 5


def test_timings_are_told_truthfully(client: Client, photo: Path) -> None:
    style = np.random.default_rng(5).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    fresh = client.stylize_detailed(photo, style)
    again = client.stylize_detailed(photo, style)
    assert fresh.model == "lite"
    assert not fresh.timings.style_cached
    assert fresh.timings.predict_ms > 0
    assert again.timings.style_cached
    assert again.timings.predict_ms == 0
    for stage in ("decode_ms", "transform_ms", "encode_ms"):
        assert getattr(again.timings, stage) > 0


def test_the_model_says_what_it_is(client: Client) -> None:
    model = client.model()
    assert (model.edition, model.engine, model.style_dimension, model.verified) == ("lite", "openvino", 100, True)
    assert model.precision in {"f32", "bf16"}
    assert len(model.weights_sha256) == 64
    # --picture-memory is 1.75 GB, or half of a smaller machine.
    bytes_per_pixel = {"f32": 137, "bf16": 85}[model.precision]
    assert 0 < model.limits.one_pass_pixels <= 1_750_000_000 // bytes_per_pixel
    assert model.limits.max_pixels >= model.limits.one_pass_pixels
    assert model.limits.max_size == 4096
    assert model.limits.min_side == 16


def test_a_picture_of_six_megabytes_goes_through(client: Client, style_picture: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1400, 1500, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).save(out, "PNG", compress_level=0)
    assert len(out.getvalue()) > 6_000_000
    picture = client.stylize(out.getvalue(), style_picture, fit="native")
    assert picture.size == (1500, 1400)


def test_many_callers_at_once(server, photo: Path, style_picture: Path, other_style_picture: Path) -> None:
    with Client(server.target, timeout=60) as client:
        expected = {
            path: np.asarray(client.stylize(photo, path, encoding="raw"))
            for path in (style_picture, other_style_picture)
        }

        def call(index: int) -> None:
            path = (style_picture, other_style_picture)[index % 2]
            np.testing.assert_array_equal(np.asarray(client.stylize(photo, path, encoding="raw")), expected[path])

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(call, range(64)))


def test_health_and_reflection(server) -> None:
    with grpc.insecure_channel(server.target) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", SERVICE):
            answer = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=60)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        assert SERVICE in ProtoReflectionDescriptorDatabase(channel).get_services()
        stable = channel.stream_stream(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            reflection_pb2.ServerReflectionRequest.SerializeToString,
            reflection_pb2.ServerReflectionResponse.FromString,
        )
        (answer,) = stable(iter([reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE)]), timeout=60)
        assert answer.file_descriptor_response.file_descriptor_proto


def test_bare_grpc_with_defaults(server, photo: Path, style_picture: Path) -> None:
    """A caller in another language sends two pictures and nothing else."""
    with grpc.insecure_channel(server.target) as channel:
        request = pb.StylizeRequest(
            content=pb.Image(encoded=photo.read_bytes()),
            styles=[pb.WeightedStyle(image=pb.Image(encoded=style_picture.read_bytes()))],
        )
        response = stylizer_pb2_grpc.StylizerStub(channel).Stylize(request, timeout=60)
    assert (response.width, response.height) == (256, 256)
    assert response.image.encoded.startswith(b"\xff\xd8\xff")


def test_a_busy_server_makes_what_a_calm_one_makes(start_server, photo: Path, style_picture: Path) -> None:
    """A single picture uses all cores, one of several uses one core. The sums differ in order, but not visibly."""
    running = start_server("--model", "lite")
    with Client(running.target, timeout=60) as client:
        client.stylize(photo, style_picture)
        calm = np.asarray(client.stylize(photo, style_picture, encoding="raw"), np.float32)
        with ThreadPoolExecutor(8) as threads:
            busy = list(threads.map(lambda _: client.stylize(photo, style_picture, encoding="raw"), range(32)))
    worst = max(float(np.mean(np.square(np.asarray(picture, np.float32) - calm))) for picture in busy)
    assert 10 * np.log10(255**2 / max(worst, 1e-9)) > 40
    assert running.stop() == 0
