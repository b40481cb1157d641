"""Of whatever somebody sends, images of ours: what is decoded is encoded anew, as WebP in some
widths, without anything that was not to be seen."""

import asyncio
import hashlib
import io
import warnings
from collections.abc import Mapping
from typing import NamedTuple

from PIL import Image, ImageOps

from app.domain.refusal import Invalid

WIDTHS = (320, 640, 1280)
MOST_BYTES = 10 * 1024 * 1024
MOST_PIXELS = 24_000_000
MOST_SIDE = 16_383  # WebP's own bound
FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
QUALITY = 82

# Pillow's own guard against what is small as a file and huge as an image: it refuses at twice this.
Image.MAX_IMAGE_PIXELS = MOST_PIXELS


class Rendered(NamedTuple):
    """An image in each of our widths, by file name. `name` is of what is in it."""

    name: str
    files: Mapping[str, bytes]


def file_name(image: str, width: int) -> str:
    return f"{image}-{width}.webp"


def file_names(image: str) -> list[str]:
    return [file_name(image, width) for width in WIDTHS]


class Renderer:
    """Renders beside the loop, few at a time: an image takes up to 100 MB while it is decoded."""

    def __init__(self, at_once: int = 2) -> None:
        self.turn = asyncio.Semaphore(at_once)

    async def render(self, content: bytes) -> Rendered:
        """For who has a turn. Raises Invalid."""
        return await asyncio.to_thread(render, content)


def render(content: bytes) -> Rendered:
    """Raises Invalid."""
    image = _opened(content)
    renditions = {width: _webp(image, width) for width in WIDTHS}
    name = hashlib.sha256(renditions[WIDTHS[-1]]).hexdigest()
    return Rendered(name, {file_name(name, width): made for width, made in renditions.items()})


def _opened(content: bytes) -> Image.Image:
    """The first frame, upright, in plain colours."""
    if len(content) > MOST_BYTES:
        raise Invalid("too_large", f"at most {MOST_BYTES // 1024 // 1024} MB", "file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is refused below, and of odd metadata
            image = Image.open(io.BytesIO(content), formats=FORMATS)
            if image.width * image.height > MOST_PIXELS:
                raise Image.DecompressionBombError("too many pixels")
            if max(image.size) > MOST_SIDE:
                raise Invalid("too_large", f"at most {MOST_SIDE:,} pixels on a side", "file")
            image.load()
            upright = ImageOps.exif_transpose(image)
            return upright.convert("RGBA" if upright.has_transparency_data else "RGB")
    except Image.DecompressionBombError:
        reason = f"at most {MOST_PIXELS // 1_000_000} megapixels"
        raise Invalid("too_large", reason, "file") from None
    except Invalid:
        raise
    except Exception:  # whatever a decoder stumbles over, it is the file's fault
        reason = f"no image, or a broken one; {', '.join(FORMATS)} are read"
        raise Invalid("no_image", reason, "file") from None


def _webp(image: Image.Image, width: int) -> bytes:
    """At most so wide, and never wider than it was."""
    width = min(width, image.width)
    height = max(1, round(image.height * width / image.width))
    made = image.resize((width, height), Image.Resampling.LANCZOS)
    made.info.clear()  # profiles and comments would be written along
    out = io.BytesIO()
    made.save(out, "WEBP", quality=QUALITY, method=4)
    return out.getvalue()
