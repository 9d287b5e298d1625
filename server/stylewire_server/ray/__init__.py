"""Batches on Ray: many pictures on many machines, for which nobody waits one by one. Needs the extra `ray`.

`Stylize` is for a Ray Data pipeline of your own:

    ray.data.read_binary_files("s3://bucket/photos").map_batches(
        Stylize, fn_constructor_kwargs={"styles": ["wave.jpg"]}, compute=ray.data.ActorPoolStrategy(size=4), num_cpus=1
    )

`run_batch` is the whole job from a folder to a folder, as `stylewire-server batch` runs it. This package imports from
every other room of the server but `cli`.
"""

from .batch import BatchError, Report, run_batch
from .stylize import Stylize

__all__ = ["BatchError", "Report", "Stylize", "run_batch"]
