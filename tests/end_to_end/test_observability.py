"""Metrics, logs, request ids and channelz of a real server."""

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from stylewire import Client, InvalidImage
from stylewire.v1 import stylizer_pb2 as pb
from stylewire.v1 import stylizer_pb2_grpc
from stylewire_server.testing import until


@pytest.fixture(scope="module")
def watched(start_server) -> Iterator[object]:
    running = start_server("--model", "lite", "--metrics-port", "0", "--log-format", "json", "--channelz")
    yield running
    assert running.stop() == 0


def entries(running) -> list[dict]:
    return [json.loads(line) for line in list(running.log)]


def await_entry(running, **wanted: object) -> dict:
    def found() -> list[dict]:
        return [entry for entry in entries(running) if all(entry.get(name) == value for name, value in wanted.items())]

    return until(found, f"a line of the log has {wanted}")[0]


def metrics(running) -> dict[str, float]:
    (line,) = [entry["message"] for entry in entries(running) if "metrics on" in entry["message"]]
    with urllib.request.urlopen(line.removeprefix("metrics on "), timeout=60) as response:
        text = response.read().decode()
    found = re.findall(r"^([a-z_]+(?:\{[^}]*\})?) (\S+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in found}


def request(photo: Path, style: Path) -> pb.StylizeRequest:
    return pb.StylizeRequest(
        content=pb.Image(encoded=photo.read_bytes()),
        styles=[pb.WeightedStyle(image=pb.Image(encoded=style.read_bytes()))],
    )


def grown(before: dict[str, float], after: dict[str, float], name: str) -> float:
    return after[name] - before.get(name, 0.0)


def test_metrics_count_what_happened(watched, photo: Path, style_picture: Path) -> None:
    before = metrics(watched)
    method = 'method="/stylewire.v1.Stylizer/Stylize"'
    with Client(watched.target, timeout=60) as client:
        for _ in range(3):
            client.stylize(photo, style_picture)
        with pytest.raises(InvalidImage):
            client.stylize(b"no picture", style_picture)
    await_entry(watched, code="INVALID_ARGUMENT")
    after = metrics(watched)
    assert grown(before, after, f'stylewire_requests_total{{code="OK",{method}}}') == 3
    assert grown(before, after, f'stylewire_requests_total{{code="INVALID_ARGUMENT",{method}}}') == 1
    assert grown(before, after, f"stylewire_request_seconds_count{{{method}}}") == 4
    for stage, times in {"queue": 4, "transform": 3, "encode": 3}.items():
        assert grown(before, after, f'stylewire_stage_seconds_count{{stage="{stage}"}}') == times
    assert grown(before, after, 'stylewire_stage_seconds_count{stage="predict"}') == 1
    assert grown(before, after, 'stylewire_style_cache_lookups_total{result="hit"}') == 2
    assert grown(before, after, 'stylewire_style_cache_lookups_total{result="miss"}') == 1
    busy = grown(before, after, "stylewire_engine_busy_seconds_total")
    inside = grown(before, after, 'stylewire_stage_seconds_sum{stage="transform"}')
    assert 0 < inside <= busy + 1e-3
    assert after["stylewire_requests_in_flight"] == 0
    assert after["stylewire_queue_depth"] == 0
    assert after["stylewire_jobs_running"] == 0
    assert any(name.startswith("stylewire_model_info{") and 'edition="lite"' in name for name in after)


def test_work_in_progress_shows(watched, photo: Path, style_picture: Path) -> None:
    message = request(photo, style_picture)
    message.options.fit = pb.FIT_NATIVE
    with grpc.insecure_channel(watched.target) as channel:
        stub = stylizer_pb2_grpc.StylizerStub(channel)
        calls = [stub.Stylize.future(message, timeout=60) for _ in range(40)]
        most: dict[str, float] = {}
        while not all(call.done() for call in calls):
            for name, value in metrics(watched).items():
                most[name] = max(value, most.get(name, 0.0))
        assert all(call.exception() is None for call in calls)
    assert most["stylewire_requests_in_flight"] > 4
    assert most["stylewire_queue_depth"] > 0
    assert most["stylewire_jobs_running"] > 0


def test_metrics_of_one_port_are_not_on_another_nor_off_by_themselves(server) -> None:
    assert not any("metrics on" in line for line in server.log)


def test_a_request_id_comes_back_and_stands_in_the_log(watched, photo: Path, style_picture: Path) -> None:
    with grpc.insecure_channel(watched.target) as channel:
        stub = stylizer_pb2_grpc.StylizerStub(channel)
        _, call = stub.Stylize.with_call(
            request(photo, style_picture), metadata=[("x-request-id", "order-66/a")], timeout=60
        )
        assert dict(call.trailing_metadata())["x-request-id"] == "order-66/a"
        entry = await_entry(watched, request_id="order-66/a")
        assert (entry["method"], entry["code"], entry["level"]) == ("Stylize", "OK", "info")
        assert entry["ms"] >= entry["transform_ms"] > 0
        assert {"queue_ms", "decode_ms", "encode_ms"} <= set(entry)


def test_an_error_carries_the_request_id_too(watched) -> None:
    with grpc.insecure_channel(watched.target) as channel, pytest.raises(grpc.RpcError) as caught:
        stylizer_pb2_grpc.StylizerStub(channel).Stylize(
            pb.StylizeRequest(), metadata=[("x-request-id", "mine")], timeout=20
        )
    assert dict(caught.value.trailing_metadata())["x-request-id"] == "mine"
    assert await_entry(watched, request_id="mine")["code"] == "INVALID_ARGUMENT"


@pytest.mark.parametrize("given", [None, "", 'a"b', "a b", "x" * 129])
def test_an_id_that_cannot_stand_in_a_log_is_replaced(watched, given: str | None) -> None:
    metadata = [] if given is None else [("x-request-id", given)]
    with grpc.insecure_channel(watched.target) as channel:
        _, call = stylizer_pb2_grpc.StylizerStub(channel).GetModel.with_call(
            pb.GetModelRequest(), metadata=metadata, timeout=20
        )
    made = dict(call.trailing_metadata())["x-request-id"]
    assert re.fullmatch("[0-9a-f]{32}", made)
    assert await_entry(watched, request_id=made)["method"] == "GetModel"


def test_every_line_of_the_log_is_json_and_pictures_are_not_in_it(watched, style_picture: Path) -> None:
    marker = b"\xff\xd8\xff secret picture \n of a caller"
    with Client(watched.target, timeout=20) as client, pytest.raises(InvalidImage):
        client.stylize(marker, style_picture)
    await_entry(watched, code="INVALID_ARGUMENT")
    assert entries(watched)
    assert "secret picture" not in "\n".join(watched.log)


def test_channelz_is_there_when_asked_for_and_only_then(watched, server) -> None:
    for running, there in ((watched, True), (server, False)):
        with grpc.insecure_channel(running.target) as channel:
            ask = channel.unary_unary("/grpc.channelz.v1.Channelz/GetServers")
            if there:
                from grpc_channelz.v1 import channelz_pb2

                assert channelz_pb2.GetServersResponse.FromString(ask(b"", timeout=20)).server
            else:
                with pytest.raises(grpc.RpcError) as caught:
                    ask(b"", timeout=20)
                assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_cancelled_call_is_counted_as_such(watched, photo: Path, style_picture: Path) -> None:
    message = request(photo, style_picture)
    message.options.fit = pb.FIT_NATIVE
    with grpc.insecure_channel(watched.target) as channel:
        stub = stylizer_pb2_grpc.StylizerStub(channel)
        calls = [stub.Stylize.future(message, timeout=60, metadata=[("x-request-id", f"c{i}")]) for i in range(20)]
        until(lambda: any(call.done() for call in calls), "a call is done")
        calls[-1].cancel()
        for call in calls[:-1]:
            call.result()
    assert await_entry(watched, request_id="c19")["code"] == "CANCELLED"


def test_a_service_that_ends_a_call_by_itself_is_counted_with_its_own_status(watched) -> None:
    from grpc_channelz.v1 import channelz_pb2

    with grpc.insecure_channel(watched.target) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/grpc.channelz.v1.Channelz/GetServer", channelz_pb2.GetServerRequest.SerializeToString)(
            channelz_pb2.GetServerRequest(server_id=10**9), metadata=[("x-request-id", "lost")], timeout=20
        )
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert await_entry(watched, request_id="lost")["code"] == "NOT_FOUND"
