"""Draws docs/pictures/performance.png from the results of the other benchmarks; draws nothing that was not measured."""

import json
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .common import RESULTS, ROOT

TARGET = ROOT / "docs" / "pictures" / "performance.png"

OURS, PEER, LIMIT = "#c2410c", "#94a3b8", "#1e3a5f"

STAGES = {
    "decode_ms": ("decode", "#fdba74"),
    "transform_ms": ("transform", OURS),
    "encode_ms": ("encode", "#fb923c"),
    "queue_ms": ("queue", "#0f766e"),
    "predict_ms": ("predict", "#facc15"),
    "grpc and client": ("gRPC and client", PEER),
}


def result(name: str) -> dict[str, Any]:
    """results/<name>.json."""
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        raise SystemExit(f"{path.relative_to(ROOT)} is missing; `make bench` makes it")
    return json.loads(path.read_text())


def throughput(axes: Axes) -> None:
    """Pictures a second by callers, ours and the plain server's."""
    rows = result("serving")["closed"]
    for offset, (name, label, color) in enumerate(
        (("plain", "plain grpcio server", PEER), ("stylewire", "stylewire", OURS))
    ):
        own = [row for row in rows if row["server"] == name]
        places = [index + 0.38 * offset for index in range(len(own))]
        bars = axes.bar(places, [row["per_second"] for row in own], width=0.36, color=color, label=label)
        axes.bar_label(bars, [f"{row['per_second']:.0f}" for row in own], fontsize=8, padding=2)
    axes.set_xticks([index + 0.19 for index in range(len(own))], [str(row["callers"]) for row in own])
    axes.set(title="Throughput, lite edition", xlabel="callers", ylabel="pictures a second")
    axes.margins(y=0.15)
    axes.legend(frameon=False, loc="upper left")


def latency(axes: Axes) -> None:
    """Median and p99 of the open loop."""
    rows = result("serving")["open"]
    for name, color in (("plain", PEER), ("stylewire", OURS)):
        own = [row for row in rows if row["server"] == name]
        share = [100 * row["share"] for row in own]
        label = "stylewire" if name == "stylewire" else "plain grpcio server"
        axes.plot(share, [row["p99_ms"] for row in own], "o-", color=color, label=f"{label}, p99")
        axes.plot(share, [row["median_ms"] for row in own], "o:", color=color, label=f"{label}, median")
    axes.set(title="Open loop", xlabel="load, % of the server's own capacity", ylabel="ms", yscale="log")
    axes.set_xticks(share)
    axes.set_yticks((10, 20, 50, 100, 200, 500), ("10", "20", "50", "100", "200", "500"))
    axes.minorticks_off()
    axes.legend(frameon=False)


def stages(axes: Axes) -> None:
    """Draw the time of each stage of one call, for each arrangement."""
    arrangements = result("stages")["arrangements"]
    names = [a["arrangement"] for a in arrangements]
    left = [0.0] * len(names)
    for key, (label, color) in STAGES.items():
        values = [a["stages_ms"][key] for a in arrangements]
        if max(values) > 0.05:
            axes.barh(names, values, left=left, color=color, label=label)
            left = [a + b for a, b in zip(left, values, strict=True)]
    axes.set(title="One call, one caller", xlabel="ms")
    axes.margins(y=0.3)
    axes.legend(frameon=False, ncols=4, fontsize=8, loc="upper center")


def full_model(axes: Axes) -> None:
    """The full edition against TensorFlow's own call and the arithmetic limit."""
    found = result("full_model")
    median = {row["contender"]: row["median_ms"] for row in found["rows"]}
    bars = {
        "TensorFlow\nsaved_model": (median["savedmodel"], PEER),
        "stylewire\nf32": (median["f32"], "#fb923c"),
        "stylewire\nbf16": (median["bf16"], OURS),
        "bf16, style\ncached": (median["bf16 cached"], OURS),
        "bf16\nlimit": (found["figures"]["bf16 arithmetic limit, ms"], LIMIT),
    }
    drawn = axes.bar(list(bars), [value for value, _ in bars.values()], color=[color for _, color in bars.values()])
    axes.bar_label(drawn, [f"{value:.0f}" for value, _ in bars.values()], fontsize=8, padding=2)
    axes.set(title="Full edition, 256x256", ylabel="ms, median")
    axes.tick_params(axis="x", labelsize=8)
    axes.margins(y=0.12)


def sizes(axes: Axes) -> None:
    """Pictures a second by side, through the server and by the bare engine."""
    rows = result("sizes")["rows"]
    for edition, color in (("lite", OURS), ("full", LIMIT)):
        own = [row for row in rows if row["edition"] == edition]
        side = [row["side"] for row in own]
        axes.plot(side, [row["per_second"] for row in own], "o-", color=color, label=f"{edition}, server")
        axes.plot(side, [row["bare_per_second"] for row in own], "x:", color=color, label=f"{edition}, bare engine")
    axes.set(title="Sizes, 4 callers", xlabel="side, px", ylabel="pictures a second", xscale="log", yscale="log")
    axes.set_xticks((256, 512, 1024), ("256", "512", "1024"))
    axes.set_yticks((1, 10, 100), ("1", "10", "100"))
    axes.minorticks_off()
    axes.legend(frameon=False)


def arrangements(axes: Axes) -> None:
    """Pictures a second by callers of each arrangement."""
    rows = result("arrangement")["rows"]
    names = list(dict.fromkeys(row["arrangement"] for row in rows))
    callers = list(dict.fromkeys(row["callers"] for row in rows))
    width = 0.8 / len(names)
    for index, (name, color) in enumerate(zip(names, (OURS, "#fb923c", PEER, LIMIT, "#0f766e"), strict=False)):
        values = [row["per_second"] for row in rows if row["arrangement"] == name]
        places = [place + width * index for place in range(len(callers))]
        axes.bar(places, values, width=0.94 * width, color=color, label=name)
    axes.set_xticks([place + width * (len(names) - 1) / 2 for place in range(len(callers))], list(map(str, callers)))
    axes.set(title="Arrangements, lite edition", xlabel="callers", ylabel="pictures a second")
    axes.margins(y=0.3)
    axes.legend(frameon=False, ncols=2, fontsize=8)


def main() -> None:
    """Writes the picture."""
    figure = Figure(figsize=(15, 7.5), layout="constrained")
    drawn = (throughput, latency, arrangements, stages, full_model, sizes)
    for axes, draw in zip(figure.subplots(2, 3).flat, drawn, strict=True):
        draw(axes)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x" if draw is stages else "y", alpha=0.25)
        axes.set_axisbelow(True)
    figure.savefig(TARGET, dpi=110)
    print(f"wrote {TARGET.relative_to(ROOT)}")
