"""Names in the frozen graph of the published SavedModel: what flows in, out, and through the cut."""

STYLE = "placeholder_1"
"""[N,H,W,3] in 0..1."""

CONTENT = "placeholder"
"""[N,H,W,3] in 0..1."""

VECTOR = "StatefulPartitionedCall/bottleneck/Mean"
"""The style vector, [N,1,1,768]: all that the two halves share."""

PICTURE = "Identity"
"""[N,H,W,3] in 0..1."""
