"""The checked-in stubs are those of the proto files."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"


@pytest.mark.parametrize("path", sorted(PROTO.rglob("*.proto")), ids=lambda path: path.name)
def test_stubs_are_up_to_date(path: Path, tmp_path: Path) -> None:
    tools = pytest.importorskip("grpc_tools", reason="needs grpcio-tools, from the extra dev")
    well_known = Path(tools.__file__).parent / "_proto"
    name = path.relative_to(PROTO)
    out = tmp_path / "set"
    paths = [f"--proto_path={folder}" for folder in (PROTO, well_known)]
    # In a process of its own: protoc and tensorflow bring two copies of one C++ library.
    protoc = [sys.executable, "-m", "grpc_tools.protoc", *paths, f"--descriptor_set_out={out}", str(name)]
    subprocess.run(protoc, check=True, timeout=60)
    expected = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file[0]

    module = importlib.import_module(".".join(name.with_suffix("").parts) + "_pb2")
    found = descriptor_pb2.FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb)
    for descriptor in (expected, found):
        for message in descriptor.message_type:
            drop_json_names(message)
    assert found == expected, "run `make proto`"


def drop_json_names(message: descriptor_pb2.DescriptorProto) -> None:
    """protoc fills these in or leaves them out by its version."""
    for field in message.field:
        field.ClearField("json_name")
    for nested in message.nested_type:
        drop_json_names(nested)
