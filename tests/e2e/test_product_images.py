"""Images over HTTP: sent, kept, served, and gone with the last product that has them."""

import io

import httpx2
import pytest
from PIL import Image

from tests.e2e.service import Service
from tests.e2e.shop import mug, refused, sent, somebody


def picture(colour: str, size: tuple[int, int] = (700, 500)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "PNG")
    return out.getvalue()


def colour_of(tag: str) -> str:
    """A colour that no other test has."""
    return f"#{tag[:6]}"


async def upload(
    client: httpx2.AsyncClient, path: str, content: bytes, **headers: str
) -> httpx2.Response:
    files = {"file": ("a.png", content, "image/png")}
    return await client.post(path, files=files, headers=headers)


async def test_an_image_is_sent_and_served_until_no_product_has_it(
    service: Service, tag: str
) -> None:
    content = picture(colour_of(tag))
    async with somebody(service) as staff, somebody(service, None) as anyone:
        for number in (1, 2):
            await sent(staff, "POST", "/v1/products", mug(f"{number}-{tag}"))
            path = f"/v1/products/mug-{number}-{tag}/images"
            answer = await upload(staff, path, content)
            assert answer.status_code == 201, answer.text
        (image,) = answer.json()["images"]
        assert list(image["urls"]) == ["320", "640", "1280"]
        for width, url in zip((320, 640, 700), image["urls"].values(), strict=True):
            served = await anyone.get(url)
            assert served.status_code == 200
            assert served.headers["content-type"] == "image/webp"
            assert served.headers["x-content-type-options"] == "nosniff"
            assert "immutable" in served.headers["cache-control"]
            found = Image.open(io.BytesIO(served.content))
            assert (found.format, found.width) == ("WEBP", width)
        seen = {"If-None-Match": served.headers["etag"]}
        assert (await anyone.get(url, headers=seen)).status_code == 304
        gone = await sent(staff, "DELETE", f"{path}/{image['id']}")
        assert gone["images"] == []
        assert (await anyone.get(url)).status_code == 200  # the other product has it, too
        await sent(staff, "DELETE", f"/v1/products/mug-1-{tag}/images/{image['id']}")
        refused(await anyone.get(url), 404)
        refused(await staff.delete(f"{path}/{image['id']}"), 404, "image")
        product = await sent(anyone, "GET", f"/v1/products/mug-2-{tag}")
        assert product["images"] == []


async def test_under_one_key_an_image_is_added_once(service: Service, tag: str) -> None:
    content = picture(colour_of(tag))
    body = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n'
        b"Content-Type: image/png\r\n\r\n" + content + b"\r\n--b--\r\n"
    )
    headers = {"Content-Type": "multipart/form-data; boundary=b", "Idempotency-Key": f"k-{tag}"}
    async with somebody(service) as staff:
        await sent(staff, "POST", "/v1/products", mug(tag))
        path = f"/v1/products/mug-{tag}/images"
        first = await staff.post(path, content=body, headers=headers)
        assert first.status_code == 201, first.text
        again = await staff.post(path, content=body, headers=headers)
        assert (again.status_code, again.content) == (201, first.content)
        other = await staff.post(path, content=body + b"\r\n", headers=headers)
        refused(other, 422, "Idempotency-Key")
        stale = await upload(staff, path, picture("red"), **{"If-Match": '"1"'})
        refused(stale, 412)
        assert len((await sent(staff, "GET", f"/v1/products/mug-{tag}"))["images"]) == 1


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"", 422), (b"no image", 422), (picture("red")[:100], 422), (bytes(13 * 2**20), 413)],
)
async def test_what_is_no_image_is_refused(
    service: Service, tag: str, content: bytes, status: int
) -> None:
    async with somebody(service) as staff:
        await sent(staff, "POST", "/v1/products", mug(tag))
        answer = await upload(staff, f"/v1/products/mug-{tag}/images", content)
        refused(answer, status, "file" if status == 422 else None)
        refused(await upload(staff, f"/v1/products/no-{tag}/images", picture("red")), 404)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/docs",
        "http://localhost:{port}/docs",
        "http://[::ffff:127.0.0.1]:{port}/docs",
        "http://169.254.169.254/latest/meta-data/",
        "file:///etc/passwd",
        "x",
        "",
    ],
)
async def test_no_address_of_ours_is_fetched(service: Service, tag: str, url: str) -> None:
    async with somebody(service) as staff:
        await sent(staff, "POST", "/v1/products", mug(tag))
        body = {"url": url.format(port=service.api.rpartition(":")[2])}
        answer = await staff.post(f"/v1/products/mug-{tag}/images", json=body)
        refused(answer, 422, "url")


async def test_a_form_or_an_address_is_needed(service: Service, tag: str) -> None:
    async with somebody(service) as staff:
        await sent(staff, "POST", "/v1/products", mug(tag))
        path = f"/v1/products/mug-{tag}/images"
        refused(await staff.post(path, json={"uri": "x"}), 422)
        refused(await staff.post(path, json=[]), 422)
        refused(await staff.post(path, data={"file": "x"}, files={"f": b"x"}), 422, "file")
        refused(await staff.post(path, content=picture("red")), 415)
        image = {"Content-Type": "image/png"}
        refused(await staff.post(path, content=picture("red"), headers=image), 415)
        broken = {"Content-Type": "multipart/form-data"}
        refused(await staff.post(path, content=b"x", headers=broken), 400)


@pytest.mark.parametrize("name", ["a", "..%2f..%2ftoken.key", "0" * 64 + "-320.png"])
async def test_nothing_else_is_served(service: Service, name: str) -> None:
    async with somebody(service, None) as anyone:
        answer = await anyone.get(f"/v1/images/{name}")
        assert answer.status_code in (404, 422)
        refused(await anyone.get(f"/v1/images/{'0' * 64}-320.webp"), 404)
