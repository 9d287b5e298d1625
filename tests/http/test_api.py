"""The HTTP API through a real socket: pictures, styles, errors, deadlines, and what it shares with gRPC."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from stylewire import Client
from stylewire.v1 import stylizer_pb2 as pb
from stylewire_server.http.forms import ENCODINGS

OPENAPI = Path(__file__).resolve().parents[2] / "server" / "stylewire_server" / "http" / "openapi.json"


@pytest.fixture(scope="module")
def content(photo: Path) -> tuple[str, bytes]:
    return "content", photo.read_bytes()


@pytest.fixture(scope="module")
def style(style_picture: Path) -> tuple[str, bytes]:
    return "style", style_picture.read_bytes()


def test_the_picture_is_that_of_grpc(http, http_server, content, style) -> None:
    options = {"strength": 0.6, "preserve_color": True, "fit": "keep", "encoding": "png"}
    answer = http.stylize(content, style, *((name, str(value)) for name, value in options.items()))
    assert answer.status == 200
    assert answer.headers["content-type"] == "image/png"
    with Client(http_server.target) as client:
        expected = client.stylize(content[1], style[1], **options)
    found = Image.open(io.BytesIO(answer.body))
    # Sums of a prediction may differ in their last bits from one call to the next.
    apart = np.abs(np.asarray(found, int) - np.asarray(expected, int))
    assert apart.max() <= 2
    assert apart.mean() < 0.1
    assert (answer.headers["image-width"], answer.headers["image-height"]) == tuple(map(str, found.size))


def test_the_size_is_that_of_the_shorter_side(http, content, style) -> None:
    answer = http.stylize(content, style, ("size", "320"), ("fit", "keep"))
    assert (answer.headers["image-width"], answer.headers["image-height"]) == ("320", "320")


def test_the_full_size_is_computed_at_another(http, style_picture: Path) -> None:
    with Image.open(Path(__file__).resolve().parents[2] / "examples" / "content" / "coffee.jpg") as image:
        out = io.BytesIO()
        image.resize((900, 600)).save(out, "JPEG", exif=Image.Exif(), icc_profile=image.info.get("icc_profile"))
    fields = [("content", out.getvalue()), ("style", "waves"), ("fit", "keep"), ("size", "128"), ("encoding", "png")]
    small, full = http.stylize(*fields), http.stylize(*fields, ("full_size", "true"))
    assert (small.headers["image-width"], small.headers["image-height"]) == ("192", "128")
    assert Image.open(io.BytesIO(full.body)).size == (900, 600)


def test_a_mask_keeps_a_style_to_its_part(http, content) -> None:
    def made(*fields: tuple[str, str | bytes]) -> np.ndarray:
        answer = http.stylize(content, *fields, ("encoding", "png"))
        assert answer.status == 200, answer.json
        return np.asarray(Image.open(io.BytesIO(answer.body)), float)

    halves = []
    for left in (255, 0):
        out = io.BytesIO()
        Image.fromarray(np.repeat(np.uint8([[left] * 32 + [255 - left] * 32]), 64, 0)).save(out, "PNG")
        halves.append(("mask", out.getvalue()))
    both = made(("style", "waves"), ("style", "shards"), *halves)
    waves, shards = made(("style", "waves")), made(("style", "shards"))
    assert np.abs(both - waves)[:, :100].mean() < 2 < np.abs(both - waves)[:, 156:].mean()
    assert np.abs(both - shards)[:, 156:].mean() < 2
    one = made(("style", "waves"), ("style", "shards"), halves[0], ("mask", ""))
    assert np.abs(one - both).mean() > 1


def test_timings_are_in_the_header_of_browsers(http, content) -> None:
    answer = http.stylize(content, ("style", "waves"))
    timing = answer.headers["server-timing"]
    assert re.findall(r"(\w+);dur=\d+\.\d\d", timing) == ["queue", "decode", "predict", "transform", "encode"]
    assert timing.endswith("style-cached")
    assert answer.headers["model"] == "lite"


def test_a_blend_of_a_file_and_a_name(http, http_server, content, style) -> None:
    weights = ("weight", "3"), ("weight", "1")
    answer = http.stylize(content, style, ("style", "shards"), *weights, ("encoding", "png"))
    assert answer.status == 200
    swapped = http.stylize(content, ("style", "shards"), style, *weights[::-1], ("encoding", "png"))
    assert swapped.body == answer.body
    plain = http.stylize(content, style, ("encoding", "png"))
    assert plain.body != answer.body


def test_the_answer_has_the_contents_own_format_and_the_request_id(http, content, style) -> None:
    answer = http.stylize(content, style, X_Request_Id="trace-7")
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["x-request-id"] == "trace-7"
    assert answer.headers["cache-control"] == "no-store"


BAD = {
    "strength": ([("strength", "1.5")], "options.strength", r"strength is 1\.5; it must be from 0 to 1"),
    "no number": ([("strength", "much")], "options.strength", r"strength is 'much'; it must be a number"),
    "nan": ([("strength", "nan")], "options.strength", r"strength is 'nan'; it must be a number"),
    "quality": ([("quality", "900")], "options.quality", r"quality is 900; it must be from 1 to 100"),
    "part of one": ([("quality", "9.5")], "options.quality", r"quality is 9\.5; it must be a whole number"),
    "fit": ([("fit", "wide")], "options.fit", r"fit is 'wide'; it must be one of crop, squash, keep, native"),
    "size": ([("size", "20"), ("fit", "keep")], "options.size", r"size is 20 px; it must be from 64 to 4096 px"),
    "size of native": ([("size", "256"), ("fit", "native")], "options.size", r"size is 256 px and fit is native"),
    "encoding": (
        [("encoding", "raw")],
        "options.encoding",
        r"encoding is 'raw'; it must be one of png, jpeg, webp, avif",
    ),
    "color": ([("preserve_color", "maybe")], "options.preserve_color", r"'maybe'; it must be true or false"),
    "weight": ([("weight", "-1")], "styles[0].weight", r"weight is -1; it must be a finite number above 0"),
    "weights": ([("weight", "1"), ("weight", "1")], "weight", r"2 weights are given for 1 styles"),
    "masks": ([("mask", b"x"), ("mask", b"x")], "mask", r"2 masks are given for 1 styles"),
    "mask": ([("mask", "left")], "styles[0].mask", r"styles\[0\]\.mask is a text; it must be a file, or empty"),
    "no mask": ([("mask", b"xx")], "styles[0].mask", r"styles\[0\]\.mask is not a JPEG, PNG or WebP picture"),
    "misspelt": ([("strenght", "1")], "strenght", r"'strenght' is not a field of this form; its fields are content, "),
    "name": ([("style", "No Name")], "styles[1].name", r"'No Name'; it must be 1 to 63 of"),
    "styles": ([("style", "waves")] * 16, "styles", r"styles has 17 styles; the limit is 16 styles"),
    "content": ([("content", b"x" * 40)], "content", r"content is given as 2 files and 0 texts; give exactly 1 file"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_field_that_is_not_valid_is_named(http, content, style, case: str) -> None:
    fields, name, message = BAD[case]
    answer = http.stylize(content, style, *fields)
    assert answer.status == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["field"] == name
    assert re.search(message, answer.json["detail"]), answer.json["detail"]
    assert answer.json["code"] == "INVALID_ARGUMENT"
    assert answer.json["request_id"] == answer.headers["x-request-id"]


def test_a_limit_is_told_to_programs_too(http, content, style, http_server) -> None:
    facts = http.stylize(content, style, ("strength", "1.5")).json
    assert (facts["value"], facts["limit"], "unit" in facts) == (1.5, 1, False)
    facts = http.stylize(content, style, ("size", "5000"), ("fit", "keep")).json
    assert (facts["value"], facts["limit"], facts["unit"]) == (5000, 4096, "px")
    facts = http.stylize(content, *[("style", "waves")] * 17).json
    assert (facts["value"], facts["limit"], facts["unit"]) == (17, 16, "styles")
    facts = http.stylize(("content", bytes(16 * 2**20 + 1)), style).json
    assert (facts["field"], facts["value"], facts["limit"], facts["unit"]) == ("content", 2**24 + 1, 2**24, "bytes")
    out = io.BytesIO()
    Image.new("RGB", (15, 40)).save(out, "PNG")
    facts = http.stylize(("content", out.getvalue()), style).json
    assert (facts["field"], facts["value"], facts["limit"], facts["unit"]) == ("content", 15, 16, "px")


def test_a_picture_that_is_none(http, style) -> None:
    answer = http.stylize(("content", b"no picture at all"), style)
    assert (answer.status, answer.json["field"]) == (400, "content")
    assert "not a JPEG, PNG or WebP picture" in answer.json["detail"]


def test_a_body_that_is_no_form(http) -> None:
    assert http("POST", "/v1/stylize", body=b"{}", headers={"Content-Type": "application/json"}).status == 415
    assert http("POST", "/v1/stylize", body=b"", headers={"Content-Type": "multipart/form-data"}).status == 400
    broken = http("POST", "/v1/stylize", body=b"xx", headers={"Content-Type": "multipart/form-data; boundary=b"})
    assert broken.status == 400
    assert "the form cannot be read" in broken.json["detail"]


def test_a_deadline_that_cannot_be_met_is_refused(http, content, style) -> None:
    for _ in range(2):
        assert http.stylize(content, style, Prefer="respond-async, wait=30").status == 200
    late = http.stylize(content, style, Prefer="wait=0.0001")
    assert (late.status, late.json["code"]) == (504, "DEADLINE_EXCEEDED")


def test_a_style_from_its_making_to_its_end(http, content, style) -> None:
    made = http("POST", "/v1/styles", [("name", "mine"), style])
    assert (made.status, made.headers["location"], made.json["name"]) == (201, "/v1/styles/mine", "mine")
    try:
        again = http("POST", "/v1/styles", [("name", "mine"), style])
        assert (again.status, again.json["type"]) == (409, "urn:stylewire:problem:style-exists")
        assert http("POST", "/v1/styles", [("name", "mine"), style, ("overwrite", "true")]).status == 201
        assert http("GET", "/v1/styles/mine").json["model"] == "lite"
        by_name = http.stylize(content, ("style", "mine"), ("encoding", "png"))
        assert by_name.body == http.stylize(content, style, ("encoding", "png")).body
    finally:
        assert http("DELETE", "/v1/styles/mine").status == 204
    gone = http("DELETE", "/v1/styles/mine")
    assert (gone.status, gone.json["detail"]) == (404, "no style is called 'mine'")


def test_styles_come_in_pages_with_thumbnails(http) -> None:
    names, token = [], ""
    for _ in range(20):
        page = http("GET", f"/v1/styles?page_size=3&page_token={token}").json
        assert len(page["styles"]) <= 3
        names += [each["name"] for each in page["styles"]]
        token = page["next_page_token"]
        if not token:
            break
    assert not token
    assert names == sorted(set(names))
    assert {"embers", "meadow", "shards", "waves"} <= set(names)
    inline = http("GET", "/v1/styles?page_size=1000&thumbnails=inline").json["styles"]
    assert all(each["thumbnail"].startswith("data:image/jpeg;base64,") for each in inline)
    assert http("GET", "/v1/styles?page_size=-1").json["field"] == "page_size"
    assert http("GET", "/v1/styles?page_size=x").status == 400
    assert http("GET", "/v1/styles?page_token=x").json["field"] == "page_token"


def test_a_thumbnail_is_sent_once(http) -> None:
    first = http("GET", "/v1/styles/waves/thumbnail")
    assert Image.open(io.BytesIO(first.body)).size == (128, 128)
    again = http("GET", "/v1/styles/waves/thumbnail", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status, again.body) == (304, b"")


def test_the_model_is_that_of_grpc(http, http_server) -> None:
    found = http("GET", "/v1/model").json
    with Client(http_server.target) as client:
        model = client.model()
    assert found["edition"] == "lite"
    assert found["weights_sha256"] == model.weights_sha256
    assert found["limits"]["max_pixels"] == model.limits.max_pixels
    assert found["limits"].keys() == set(pb.Limits.DESCRIPTOR.fields_by_name)


def test_health(http) -> None:
    assert http("GET", "/healthz").json == {"status": "alive"}
    assert http("GET", "/readyz").json == {"status": "ready"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("PUT", "/v1/styles", 405), ("GET", "/v1/stylize", 405), ("GET", "/web/../app.py", 404)],
)
def test_what_is_not_served_is_a_problem_too(http, method: str, path: str, status: int) -> None:
    answer = http(method, path)
    assert answer.status == status
    assert answer.json["status"] == status
    if status == 405:
        assert "POST" in answer.headers["allow"]


def test_the_document_describes_what_is_served(http, content, style) -> None:
    document = http("GET", "/openapi.json").json
    assert document == json.loads(OPENAPI.read_bytes())
    for path, operations in document["paths"].items():
        for method in operations.keys() & {"get", "post", "delete"}:
            answer = http(method.upper(), path.replace("{name}", "no-such-style"))
            assert str(answer.status) in operations[method]["responses"], (method, path, answer.body)
    fields = document["paths"]["/v1/stylize"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert fields["properties"]["encoding"]["enum"] == list(ENCODINGS)
    listed = http.stylize(content, style, ("unknown", "1")).json["detail"]
    assert listed.partition("its fields are ")[2] == ", ".join(sorted(fields["properties"]))
