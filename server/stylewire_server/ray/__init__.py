"""Batches on Ray: many pictures on many machines. Needs the extra `ray`.

`Stylize` is for your own Ray Data pipeline:

    ray.data.read_binary_files("s3://bucket/photos").map_batches(
        Stylize, fn_constructor_kwargs={"styles": ["wave.jpg"]}, compute=ray.data.ActorPoolStrategy(size=4), num_cpus=1
    )

`run_batch` does a whole job from a folder to a folder, as `stylewire-server batch` does. May import: every package of
the server but `cli`.
"""

from .batch import BatchError, Report, run_batch
from .stylize import Stylize

__all__ = ["BatchError", "Report", "Stylize", "run_batch"]
