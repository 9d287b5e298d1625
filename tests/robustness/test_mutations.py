"""Damaged pictures: none may crash or hang the server, or end in an internal error."""

import io
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from stylewire.v1 import stylizer_pb2 as pb
from stylewire.v1 import stylizer_pb2_grpc

FORMATS = ("JPEG", "PNG", "WEBP")
SHORT, LONG = 40, 2000
"""Mutations of each format."""

ALLOWED = {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT}


@pytest.fixture(scope="module")
def own_server(start_server) -> Iterator[object]:
    running = start_server("--model", "lite", "--log-level", "warning")
    yield running
    assert running.stop() == 0
    assert "Traceback" not in "\n".join(running.log)


@pytest.fixture(scope="module")
def originals(photo: Path) -> dict[str, list[bytes]]:
    """Real files of each format, with the features that decoders stumble over."""
    with Image.open(photo) as image:
        small = image.convert("RGB").resize((120, 90))
    variants = {
        "JPEG": [{"quality": 90}, {"progressive": True}, {"quality": 30, "exif": _exif(6)}],
        "PNG": [{}, {"compress_level": 1}],
        "WEBP": [{"quality": 80}, {"lossless": True}],
    }
    files = {form: [_file(small, form, **options) for options in each] for form, each in variants.items()}
    files["JPEG"].append(_file(small.convert("CMYK"), "JPEG"))
    files["PNG"].append(_file(small.convert("P"), "PNG"))
    files["PNG"].append(_file(small.convert("RGBA"), "PNG"))
    return files


def _exif(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[274] = orientation
    return exif.tobytes()


def _file(image: Image.Image, form: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def mutate(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """Return the file with one or several kinds of damage."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        at = rng.randrange(len(out)) if out else 0
        # Headers matter most.
        at = at if rng.random() < 0.5 else at % 200
        match rng.randrange(8):
            case 0:
                del out[rng.randrange(len(out) + 1) :]
            case 1 if out:
                out[min(at, len(out) - 1)] ^= 1 << rng.randrange(8)
            case 2:
                out[at : at + 4] = rng.choice((b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff"))
            case 3:
                del out[at : at + rng.randrange(1, 64)]
            case 4:
                out[at:at] = rng.randbytes(rng.randrange(1, 64))
            case 5:
                out[at:at] = out[at : at + rng.randrange(1, 256)]
            case 6:
                out[at : at + 16] = rng.randbytes(16)
            case 7:
                other = rng.choice(others)
                cut = rng.randrange(len(other))
                out = out[:at] + bytearray(other[cut:])
    return bytes(out)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("form", FORMATS)
def test_mutated_files_end_in_a_picture_or_in_invalid_argument(
    own_server, still_serves, originals: dict[str, list[bytes]], style_picture: Path, form: str, long_form: bool
) -> None:
    rng = random.Random(f"stylewire {form}")
    everything = [file for files in originals.values() for file in files]
    style = pb.WeightedStyle(image=pb.Image(encoded=style_picture.read_bytes()))
    codes: dict[grpc.StatusCode, int] = {}
    with grpc.insecure_channel(own_server.target) as channel, ThreadPoolExecutor(4) as pool:
        stub = stylizer_pb2_grpc.StylizerStub(channel)

        def call(file: bytes) -> tuple[grpc.StatusCode, str, bytes]:
            fit = pb.FIT_NATIVE if len(file) % 2 else pb.FIT_CROP_256
            image = pb.Image(encoded=file)
            request = pb.StylizeRequest(content=image, styles=[style], options=pb.StylizeOptions(fit=fit))
            if len(file) % 3 == 0:
                request = pb.StylizeRequest(content=style.image, styles=[pb.WeightedStyle(image=image)])
            try:
                stub.Stylize(request, timeout=60)
            except grpc.RpcError as error:
                return error.code(), error.details(), file
            return grpc.StatusCode.OK, "", file

        files = [mutate(rng.choice(originals[form]), rng, everything) for _ in range(LONG if long_form else SHORT)]
        for code, message, file in pool.map(call, files):
            assert code in ALLOWED, f"{code} {message} for {len(file)} bytes: {file[:64].hex()}…"
            codes[code] = codes.get(code, 0) + 1
    assert codes.get(grpc.StatusCode.INVALID_ARGUMENT), "no mutation did any damage"
    print(f"{form}: {len(files)} mutations, { ({code.name: count for code, count in codes.items()}) }")
    still_serves(own_server.target)


@pytest.mark.timeout(3600)
def test_any_pixels_and_options_end_in_a_picture_or_in_invalid_argument(
    own_server, still_serves, style_picture: Path, long_form: bool
) -> None:
    style = pb.WeightedStyle(image=pb.Image(encoded=style_picture.read_bytes()))
    sides = st.integers(0, 80)

    with grpc.insecure_channel(own_server.target) as channel:
        stub = stylizer_pb2_grpc.StylizerStub(channel)

        @settings(
            max_examples=500 if long_form else 30,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
            database=None,
        )
        @given(
            height=sides,
            width=sides,
            surplus=st.integers(-3, 3),
            level=st.integers(0, 255),
            strength=st.none() | st.floats(width=32),
            weight=st.none() | st.floats(width=32),
            options=st.tuples(st.integers(-1, 6), st.integers(-1, 6), st.integers(0, 2**32 - 1), st.booleans()),
        )
        def check(height, width, surplus, level, strength, weight, options) -> None:
            fit, encoding, quality, preserve = options
            rgb = bytes([level]) * max(0, height * width * 3 + surplus)
            weighted = pb.WeightedStyle(image=style.image, weight=weight)
            request = pb.StylizeRequest(
                content=pb.Image(pixels=pb.Pixels(height=height, width=width, rgb=rgb)),
                styles=[weighted],
                options=pb.StylizeOptions(
                    strength=strength, fit=fit, encoding=encoding, quality=quality, preserve_color=preserve
                ),
            )
            try:
                answer = stub.Stylize(request, timeout=60)
            except grpc.RpcError as error:
                assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, error.details()
            else:
                assert surplus == 0 and min(height, width) >= 16
                assert answer.width and answer.height

        check()
    still_serves(own_server.target)
