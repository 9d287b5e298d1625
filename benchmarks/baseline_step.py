"""CPU seconds and memory of one value-and-gradient of J(G): this project's step and the same step in PyTorch.

    python -m benchmarks baseline-step --torch-python torchenv/bin/python --sizes 256 512 --out results.json

There is one process for each engine. They take turns measuring, so that other jobs on the machine affect all of them
alike. CPU seconds are those of all threads. The step is the gatys2016 preset: content conv4_2, style conv1_1 …
conv5_1, average pooling, random weights (the same in all; the costs must agree). Ratios are medians of the ratios
within a round.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

STYLE = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
CONTENT = "relu4_2"
MEAN_BGR = (103.939, 116.779, 123.68)
PAUSE_SECONDS = 0.3
"""Pause before each measurement, in which the other engines' threads stop spinning."""


def tensorflow_step(network, data, threads, bf16):
    from stylewire_server.engine.import_tensorflow import import_tensorflow

    import_tensorflow()
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    from optimizer_baseline.objective.objective import Objective, Style
    from optimizer_baseline.objective.presets import preset
    from optimizer_baseline.vgg import weights

    definition = preset("gatys2016").replace(network=network)
    loaded = weights.load(network, data["weights"])
    content, style, picture = np.load(data["pictures"])
    objective = Objective(content, [Style(style)], definition, loaded, bfloat16=bf16)
    return lambda: objective.value_and_gradient(picture)[0].total_cost


def torch_step(network, data, threads):
    """The usual PyTorch way: nn modules, channels_last, frozen parameters, autograd to the pixels only."""
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    blocks = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}[network]
    modules, taps = nn.Sequential(), {}
    with np.load(data["weights"]) as file:
        for block, count in enumerate(blocks, 1):
            for index in range(1, count + 1):
                kernel = torch.from_numpy(file[f"conv{block}_{index}/kernel"].transpose(3, 2, 0, 1).copy())
                layer = nn.Conv2d(kernel.shape[1], kernel.shape[0], 3, padding=1)
                layer.weight.data, layer.bias.data = kernel, torch.from_numpy(file[f"conv{block}_{index}/bias"])
                modules.append(layer)
                modules.append(nn.ReLU())
                taps[len(modules) - 1] = f"relu{block}_{index}"
                if (block, index) == (5, 1):
                    break
            if block < 5:
                modules.append(nn.AvgPool2d(2))
    modules = modules.requires_grad_(False).eval().to(memory_format=torch.channels_last)
    mean = torch.tensor(MEAN_BGR).view(1, 3, 1, 1)

    def features(pixels):
        x = pixels.flip(1) * 255.0 - mean
        found = {}
        for number, module in enumerate(modules):
            x = module(x)
            if taps.get(number) in (*STYLE, CONTENT):
                found[taps[number]] = x
        return found

    def gram(x):
        rows = x.reshape(x.shape[1], -1)
        return rows @ rows.T / rows.shape[1]

    def read(array):
        return torch.from_numpy(array.transpose(0, 3, 1, 2).copy()).to(memory_format=torch.channels_last)

    content, style, picture = (read(array) for array in np.load(data["pictures"]))
    with torch.no_grad():
        target = features(content)[CONTENT]
        grams = {name: gram(x) for name, x in features(style).items() if name in STYLE}

    def step():
        pixels = picture.detach().requires_grad_(True)
        found = features(pixels)
        cost = 1e-3 * 0.5 * ((found[CONTENT] - target) ** 2).sum()
        for name in STYLE:
            cost = cost + 0.2 * 0.25 * ((gram(found[name]) - grams[name]) ** 2).mean()
        cost.backward()
        return float(cost)

    return step


def worker(engine, network, threads):
    """Measure on demand: a number of steps on a line of input, their CPU seconds on a line of output."""
    data = json.loads(os.environ["BASELINE_STEP_DATA"])
    step = (
        torch_step(network, data, threads)
        if engine == "torch f32"
        else tensorflow_step(network, data, threads, engine == "stylewire bf16")
    )
    for line in sys.stdin:
        seconds = []
        for _ in range(int(line)):
            began = time.process_time()
            cost = step()
            seconds.append(time.process_time() - began)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
        print(json.dumps({"seconds": seconds, "cost": cost, "peak_mb": round(peak)}), flush=True)


class Engine:
    def __init__(self, name, python, network, threads, data):
        environment = os.environ | {"BASELINE_STEP_DATA": json.dumps(data), "TF_CPP_MIN_LOG_LEVEL": "3"}
        self.process = subprocess.Popen(
            [python, __file__, "--worker", name, "--network", network, "--threads", str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment,
        )  # fmt: skip
        self.seconds, self.rounds = [], []
        self.last = self.ask(1)

    def ask(self, steps):
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"a worker failed: {' '.join(self.process.args)}")
        return json.loads(line)

    def measure(self, steps):
        time.sleep(PAUSE_SECONDS)
        self.last = self.ask(steps)
        self.seconds += self.last["seconds"]
        self.rounds.append(statistics.median(self.last["seconds"]))

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def compare(network, size, given, folder):
    from optimizer_baseline.vgg import weights

    data = {"weights": str(folder / f"{network}.npz"), "pictures": str(folder / "pictures.npy")}
    weights.save(weights.load(network, "random"), data["weights"])
    pictures = np.random.default_rng(0).random((3, 1, size, size, 3), np.float32)
    np.save(data["pictures"], pictures)
    pythons = {"torch f32": given.torch_python, "stylewire f32": sys.executable}
    if given.bf16:
        pythons["stylewire bf16"] = sys.executable
    engines = {name: Engine(name, python, network, given.threads, data) for name, python in pythons.items()}
    for _ in range(given.rounds):
        for engine in engines.values():
            engine.measure(given.steps)
    rows = []
    for name, engine in engines.items():
        ratios = [a / b for a, b in zip(engine.rounds, engines["torch f32"].rounds, strict=True)]
        rows.append({
            "network": network,
            "engine": name,
            "size": size,
            "threads": given.threads,
            "cpu_seconds": round(statistics.median(engine.seconds), 3),
            "ratio_to_torch": round(statistics.median(ratios), 3),
            "peak_mb": engine.last["peak_mb"],
            "cost": engine.last["cost"],
        })  # fmt: skip
        engine.close()
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch-python", help="python of an environment with requirements-torch.txt")
    parser.add_argument("--network", choices=("vgg16", "vgg19"), help="only this one")
    parser.add_argument("--sizes", type=int, nargs="+", default=[256], help="sides of the square picture in px")
    parser.add_argument("--no-bf16", dest="bf16", action="store_false", help="for a CPU that only emulates it")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3, help="measured steps per engine and round")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        worker(given.worker, given.network, given.threads)
        return
    if not given.torch_python:
        parser.error("--torch-python is needed")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for network in (given.network,) if given.network else ("vgg16", "vgg19"):
            for size in given.sizes:
                found = compare(network, size, given, Path(folder))
                print("\n".join(map(json.dumps, found)), flush=True)
                rows += found
    if given.out:
        from optimizer_baseline.comparison.machine import describe, versions

        given.out.write_text(json.dumps({"machine": describe(), "versions": versions(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
