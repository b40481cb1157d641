"""Images: whatever is sent, what is kept was made by us."""

import io
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from app.domain.refusal import Invalid
from app.images.render import MOST_BYTES, MOST_PIXELS, MOST_SIDE, file_names, render


def picture(kind: str = "PNG", size: tuple[int, int] = (900, 600), **saved: object) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, "teal").save(out, kind, **saved)
    return out.getvalue()


def opened(content: bytes) -> Image.Image:
    found = Image.open(io.BytesIO(content))
    found.load()
    return found


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_an_image_is_made_in_our_widths_and_never_wider_than_it_was(kind: str) -> None:
    rendered = render(picture(kind))
    assert list(rendered.files) == file_names(rendered.name)
    images = [opened(content) for content in rendered.files.values()]
    assert [(image.format, *image.size) for image in images] == [
        ("WEBP", 320, 213),
        ("WEBP", 640, 427),
        ("WEBP", 900, 600),
    ]
    assert render(picture(kind)) == rendered


def test_nothing_that_was_not_to_be_seen_is_kept() -> None:
    exif = Image.Exif()
    exif[0x010E] = "where it was taken"  # a description
    exif[0x0112] = 6  # lies on its side
    content = picture("JPEG", (400, 200), exif=exif, icc_profile=b"profile", comment=b"secret")
    assert b"where it was taken" in content
    for made in render(content).files.values():
        image = opened(made)
        assert image.height > image.width
        assert not set(image.info) & {"exif", "icc_profile", "xmp", "comment"}
        assert not any(told in made for told in (b"taken", b"profile", b"secret", b"EXIF"))


def test_text_in_a_png_is_left_out() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Author", "somebody")
    info.add_itxt("XML:com.adobe.xmp", "<x>somebody</x>")
    rendered = render(picture("PNG", pnginfo=info))
    assert not any(b"somebody" in made for made in rendered.files.values())


def test_what_is_seen_through_stays_so() -> None:
    out = io.BytesIO()
    Image.new("RGBA", (10, 10), (0, 0, 0, 0)).save(out, "PNG")
    (_, _, made) = render(out.getvalue()).files.values()
    assert opened(made).convert("RGBA").getpixel((5, 5))[3] == 0  # type: ignore[index]


def png_of(width: int, height: int) -> bytes:
    """A PNG of a few bytes which says that it is so large."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        told = kind + content
        return struct.pack(">I", len(content)) + told + struct.pack(">I", zlib.crc32(told))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + head + body + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("width", "height"),
    [(5000, 5000), (7000, 7000), (50_000, 50_000), (2**31 - 1, 1), (2**31 - 1, 2**31 - 1)],
)
def test_a_bomb_is_not_decoded(width: int, height: int) -> None:
    assert width * height > MOST_PIXELS
    with pytest.raises(Invalid) as refusal:
        render(png_of(width, height))
    assert refusal.value.field == "file"


@pytest.mark.parametrize("size", [(1, 16_384), (16_384, 1)])
def test_a_side_longer_than_webp_has_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(Invalid) as refusal:
        render(picture(size=size))
    assert (refusal.value.code, refusal.value.field) == ("too_large", "file")
    assert opened([*render(picture(size=(1, MOST_SIDE))).files.values()][-1]).size == (1, MOST_SIDE)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no image",
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"%PDF-1.7",
        picture("BMP"),
        picture("TIFF"),
        picture("PNG")[:200],
        picture("JPEG")[:-2000],
        png_of(100, 100),
        bytes(MOST_BYTES + 1),
    ],
)
def test_what_is_no_image_of_ours_is_refused(content: bytes) -> None:
    with pytest.raises(Invalid) as refusal:
        render(content)
    assert refusal.value.field == "file"


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(
    st.sampled_from(["PNG", "JPEG", "WEBP", "GIF"]),
    st.lists(st.tuples(st.integers(0, 10_000), st.binary(min_size=1, max_size=8)), max_size=5),
)
def test_a_damaged_file_is_refused_or_made_anew(kind: str, damage: list[tuple[int, bytes]]) -> None:
    content = bytearray(picture(kind, (60, 40)))
    for at, told in damage:
        content[at % len(content) : at % len(content) + len(told)] = told
    try:
        rendered = render(bytes(content))
    except Invalid:
        return
    assert all(opened(made).format == "WEBP" for made in rendered.files.values())
