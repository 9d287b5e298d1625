"""`client.styles`: what the server keeps under names."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from . import messages
from .messages import Style, StyleLike
from .v1 import stylizer_pb2 as pb

if TYPE_CHECKING:
    from .async_client import AsyncClient
    from .client import Client


class Styles:
    """Named styles, by a `Client`."""

    def __init__(self, client: "Client") -> None:
        self._client = client

    def create(self, name: str, style: StyleLike, *, overwrite: bool = False, timeout: float | None = None) -> Style:
        """Keeps a picture, or a blend of pictures and named styles, under a name.

        Args:
            name: 1 to 63 of a-z, 0-9 and -, not beginning with -.
            style: As for `Client.stylize`.
            overwrite: Replace a style of that name.
            timeout: Seconds, in place of the client's.

        Raises:
            StyleExists: The name is taken.
            StylewireError: See the tree in `stylewire.errors`.
            OSError: A path cannot be read.
        """
        request = messages.create_request(name, style, overwrite)
        return messages.kept_style(self._client.call(self._client.stub.CreateStyle, request, timeout))

    def get(self, name: str, *, timeout: float | None = None) -> Style:
        """The style of that name.

        Raises:
            StyleNotFound: There is none.
        """
        request = pb.GetStyleRequest(name=name)
        return messages.kept_style(self._client.call(self._client.stub.GetStyle, request, timeout))

    def list(self, *, page_size: int = 0, timeout: float | None = None) -> Sequence[Style]:
        """All styles in the order of their names, fetched page by page.

        Args:
            page_size: Styles in one call; 0 for the server's default.
            timeout: Seconds for one page.
        """
        styles: list[Style] = []
        request = pb.ListStylesRequest(page_size=page_size)
        while True:
            page = self._client.call(self._client.stub.ListStyles, request, timeout)
            styles += map(messages.kept_style, page.styles)
            if not page.next_page_token:
                return styles
            request.page_token = page.next_page_token

    def delete(self, name: str, *, timeout: float | None = None) -> None:
        """Forgets a style.

        Raises:
            StyleNotFound: There is none.
        """
        self._client.call(self._client.stub.DeleteStyle, pb.DeleteStyleRequest(name=name), timeout)


class AsyncStyles:
    """Named styles, by an `AsyncClient`: as `Styles`, to be awaited."""

    def __init__(self, client: "AsyncClient") -> None:
        self._client = client

    async def create(
        self, name: str, style: StyleLike, *, overwrite: bool = False, timeout: float | None = None
    ) -> Style:
        """See `Styles.create`."""
        request = await self._client.build(messages.create_request, name, style, overwrite)
        return messages.kept_style(await self._client.call(self._client.stub.CreateStyle, request, timeout))

    async def get(self, name: str, *, timeout: float | None = None) -> Style:
        """See `Styles.get`."""
        request = pb.GetStyleRequest(name=name)
        return messages.kept_style(await self._client.call(self._client.stub.GetStyle, request, timeout))

    async def list(self, *, page_size: int = 0, timeout: float | None = None) -> Sequence[Style]:
        """See `Styles.list`."""
        styles: list[Style] = []
        request = pb.ListStylesRequest(page_size=page_size)
        while True:
            page = await self._client.call(self._client.stub.ListStyles, request, timeout)
            styles += map(messages.kept_style, page.styles)
            if not page.next_page_token:
                return styles
            request.page_token = page.next_page_token

    async def delete(self, name: str, *, timeout: float | None = None) -> None:
        """See `Styles.delete`."""
        await self._client.call(self._client.stub.DeleteStyle, pb.DeleteStyleRequest(name=name), timeout)
