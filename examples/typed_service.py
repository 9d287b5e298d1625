"""A caller in a typed code base: `mypy --strict` and pyright accept it against the installed package."""

from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from stylewire import AsyncClient, Client, InvalidImage, ServerBusy, Style, StylewireError, Stylized


def postcard(client: Client, photo: Path, style: str) -> bytes:
    """The bytes of a stylized JPEG; falls back to the photo where the server is too busy."""
    try:
        result: Stylized = client.stylize_detailed(photo, style, fit="keep", encoding="jpeg", strength=0.8)
    except ServerBusy:
        return photo.read_bytes()
    return result.data


def frames(client: Client, folder: Path, style: str) -> Iterator[Image.Image]:
    """The pictures of a folder in one style, in order."""
    yield from client.stylize_stream(sorted(folder.glob("*.png")), style, preserve_color=True)


async def blended(target: str, photo: bytes, weights: dict[str, float]) -> Image.Image | None:
    """A blend of named styles; None for a photo that cannot be read."""
    async with AsyncClient(target, timeout=10.0) as client:
        try:
            return await client.stylize(photo, weights, size=512)
        except InvalidImage:
            return None


def names(client: Client) -> list[str]:
    """Names of the styles that the server keeps; empty where it cannot be asked."""
    try:
        styles: list[Style] = list(client.styles.list())
    except StylewireError:
        return []
    return [style.name for style in styles]
