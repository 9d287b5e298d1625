"""What the services wait for: a model."""

from stylewire.v1 import stylizer_pb2 as pb

from ..errors import NotReady
from ..stylizer import Stylizer


class Loaded:
    """The domain and what it serves, once they are there."""

    def __init__(self) -> None:
        self._found: tuple[Stylizer, pb.Model] | None = None

    def __bool__(self) -> bool:
        """Whether they are."""
        return self._found is not None

    def put(self, stylizer: Stylizer, model: pb.Model) -> None:
        """From now on calls are served: by that stylizer, and GetModel answers that model."""
        self._found = stylizer, model

    def get(self) -> tuple[Stylizer, pb.Model]:
        """Both.

        Raises:
            NotReady: They are not there yet.
        """
        if self._found is None:
            raise NotReady("the model is still loading; watch the health service, or wait for ready")
        return self._found
