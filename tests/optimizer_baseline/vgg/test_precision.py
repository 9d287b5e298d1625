import pytest

from optimizer_baseline import InvalidOption
from optimizer_baseline.vgg import precision


@pytest.mark.parametrize(
    ("flags", "native"),
    [("fpu avx2 avx512f", False), ("fpu avx512_bf16", True), ("amx_bf16 amx_tile", True), ("avx512_bf16x", False)],
)
def test_only_native_bfloat16_counts(flags, native, tmp_path):
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor\t: 0\nflags\t\t: {flags}\n")
    assert precision.native_bfloat16(info) is native


def test_a_system_that_does_not_say(tmp_path):
    assert precision.native_bfloat16(tmp_path / "gone") is False


def test_resolve():
    assert precision.resolve("f32") == "f32"
    assert precision.resolve("bf16") == "bf16"
    assert precision.resolve("auto") == ("bf16" if precision.native_bfloat16() else "f32")
    with pytest.raises(InvalidOption, match="'int8'; known: auto, f32, bf16"):
        precision.resolve("int8")
