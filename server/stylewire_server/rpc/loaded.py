"""The loaded model that the services wait for."""

from stylewire.v1 import stylizer_pb2 as pb

from ..errors import NotReady
from ..stylizer import Stylizer


class Loaded:
    """The stylizer and the description of its model, once they are loaded."""

    def __init__(self) -> None:
        self._found: tuple[Stylizer, pb.Model] | None = None

    def __bool__(self) -> bool:
        """Return True once the model is loaded."""
        return self._found is not None

    def put(self, stylizer: Stylizer, model: pb.Model) -> None:
        """Set the stylizer and the model; calls are served from now on."""
        self._found = stylizer, model

    def get(self) -> tuple[Stylizer, pb.Model]:
        """Return the stylizer and the description of its model.

        Raises:
            NotReady: The model is still loading.
        """
        if self._found is None:
            raise NotReady("the model is still loading; watch the health service, or wait for ready")
        return self._found
