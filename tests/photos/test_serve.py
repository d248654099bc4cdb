"""The page's server over real HTTP: who may ask, what can be read, and what happens under load."""

from __future__ import annotations

import io
import os
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from hardpairs.cli.photos import main, parse_args
from hardpairs.core.errors import UserError
from hardpairs.data.images import decode
from hardpairs.photos.guard import MAX_UPLOAD
from hardpairs.photos.index import Index
from hardpairs.photos.library import THUMBNAIL, Library, Query, QueryImages
from hardpairs.photos.model import open_model
from hardpairs.photos.page import PageContent, answer
from hardpairs.photos.search import image_vector, text_vectors
from hardpairs.photos.serve import bind, check_address, make_app
from tests.helpers import picture, run, write_tar
from tests.photos.conftest import MODEL
from tests.photos.web import Served, Site, get, post

SECRET = b"the secret of the house"


@pytest.fixture
def site(library, tmp_path):
    (tmp_path / "secret.txt").write_bytes(SECRET)
    with Site(make_app(PageContent([library], QueryImages([library])))) as site:
        yield site


def test_pictures_by_id_and_small(site, library, photos):
    index = library.index()
    Image.effect_noise((3000, 1000), 60).convert("RGB").save(
        photos / "large.jpg", exif=Image.Exif()
    )
    for row in range(3):
        answer = get(f"{site.url}/photo/{index.ids[row]}")
        image = Image.open(io.BytesIO(answer.content))
        assert (
            answer.headers["content-type"] == "image/jpeg"
            and image.size == (32, 32)
            and not image.getexif()
        )
    main(
        ["index", "--out", str(library.folder), "--workers", "0"]
    )  # the running server takes the new index
    name = library.index().ids[list(library.index().photos.paths).index(str(photos / "large.jpg"))]
    for way, side in (("", THUMBNAIL), ("/large", 1600)):
        assert Image.open(io.BytesIO(get(f"{site.url}/photo/{name}{way}").content)).size[0] == side


def test_five_large_uploads_at_once_stay_under_a_peak(site):
    """16 megapixels with transparency are 300 MB while they are decoded: one at a time."""
    buffer = io.BytesIO()
    Image.new("RGBA", (4000, 4000), (255, 0, 0, 128)).save(buffer, "PNG")
    before = _peak(reset=True)
    with ThreadPoolExecutor(5) as pool:
        waiting = [
            pool.submit(post, f"{site.url}/asked", content=buffer.getvalue(), timeout=120)
            for _ in range(5)
        ]
        assert {one.result().status_code for one in waiting} == {200}
    assert _peak() - before < 450e6


def _peak(*, reset: bool = False) -> float:
    """Bytes that this process has held at most, since the last reset."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    (line,) = (
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmHWM")
    )
    return 1024 * int(line.split()[1])


def test_nothing_but_indexed_pictures_is_served(site, tmp_path, photos, library):
    secret = str(tmp_path / "secret.txt")
    (photos / "not-indexed.jpg").write_bytes(picture(999))
    up = "../" * 12
    payloads = [
        f"/photo/{part}"
        for part in (
            "..",
            up + secret,
            secret,
            "%2e%2e%2f" * 12 + secret[1:],
            "0" * 16,
            "-1",
            "1",
            "x" * 400,
        )
    ]
    payloads += [
        f"/{way}{part}"
        for way in ("", "static/", "assets/", "theme.css/")
        for part in (up + secret, "%2e%2e/" * 9 + secret[1:])
    ]
    payloads += [
        f"/static/{'..%5c' * 8}{secret}",
        "/assets/..%252f..%252f..%252fetc/passwd",
        "/photo/" + "0" * 15 + "%00",
    ]
    for way in (
        "file=",
        "file/",
        "proxy=",
        "stream/",
        "custom_component/",
        "run/predict",
        "call/search",
        "upload",
        "deep_link",
        "info",
        "runs",
    ):
        payloads += [
            f"/gradio_api/{way}{part}"
            for part in (
                secret,
                str(photos / "not-indexed.jpg"),
                str(photos / "summer/00.jpg"),
                "http://127.0.0.1:1/",
            )
        ]
    payloads += [
        "/docs",
        "/openapi.json",
        "/login",
        "/monitoring",
        "/gradio_api/vibe-code/",
        "/pair/0",
        "/batches",
        "/asked/" + "0" * 32,
    ]
    assert len(payloads) > 60
    for path in payloads:
        for method in (b"GET", b"POST"):
            answer = site.raw(
                method
                + b" "
                + path.encode()
                + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            )
            status = int(answer.split(b" ", 2)[1])
            assert status in (400, 403, 404, 405), (path, status)
            assert SECRET not in answer and b"root:" not in answer and b"\xff\xd8" not in answer


def test_a_picture_is_served_while_it_is_indexed_and_the_same(
    site, library, photos, make_index, tmp_path
):
    """Not what is remembered of one that was taken out of the index, nor what was written over an indexed one."""

    def status(name: str) -> int:
        return get(f"{site.url}/photo/{name}").status_code

    ids, index = (
        {
            Path(path).name: name
            for path, name in zip(library.index().photos.paths, library.index().ids, strict=True)
        },
        library.folder,
    )
    assert status(ids["00.jpg"]) == status(ids["01.jpg"]) == status(ids["02.jpg"]) == 200
    (photos / "summer/00.jpg").unlink()
    (photos / "summer/01.jpg").write_bytes(picture(600))  # written over: seen before
    (photos / "summer/03.jpg").write_bytes(picture(601))  # and not seen before
    os.utime(photos / "summer/02.jpg")  # the same content
    assert [status(ids[f"0{i}.jpg"]) for i in range(5)] == [404, 404, 200, 404, 200]
    make_index(out=index)
    assert [status(ids[f"0{i}.jpg"]) for i in range(5)] == [404, 404, 200, 404, 200]
    (photos / "summer/02.jpg").rename(tmp_path / "elsewhere.jpg")
    make_index(out=index)
    (tmp_path / "elsewhere.jpg").rename(photos / "summer/02.jpg")  # there again, and not indexed
    assert status(ids["02.jpg"]) == 404


def test_a_tar_that_was_written_over_shows_nothing_of_its_own(library, tmp_path, make_index):
    """By a picture of the same length, and at the same time."""
    old, new = (picture(seed).ljust(2000, b"\0") for seed in (700, 701))
    tar = write_tar(tmp_path / "photos/s.tar", {"a": {"jpg": old}})
    make_index()
    with Site(make_app(PageContent([library], QueryImages([library])))) as site:
        name = library.index().ids[list(library.index().photos.keys).index("a")]
        before = os.stat(tar)
        write_tar(tar, {"a": {"jpg": new}})
        os.utime(tar, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert get(f"{site.url}/photo/{name}").status_code == 404


def test_a_link_that_took_a_photographs_place_is_not_followed(site, library, photos, tmp_path):
    (tmp_path / "private.jpg").write_bytes(picture(123))
    index = library.index()
    path = Path(index.photos.paths[0])
    path.unlink()
    os.symlink(tmp_path / "private.jpg", path)
    assert get(f"{site.url}/photo/{index.ids[0]}").status_code == 404
    (photos / "winter").rename(tmp_path / "w")
    os.symlink(tmp_path / "w", photos / "winter")
    assert get(f"{site.url}/photo/{index.ids[11]}").status_code == 404


def test_uploads(site, library):
    def give(data: bytes, **headers) -> httpx.Response:
        return post(f"{site.url}/asked", content=data, headers=headers, timeout=30)

    answer = give(picture(3))
    assert answer.status_code == 200
    found = site.answer(given=answer.json()["id"])
    assert found.index(library.index().ids[3]) < min(
        found.index(name) for name in library.index().ids if name != library.index().ids[3]
    )
    bomb = io.BytesIO()
    Image.new("1", (12_000, 12_000)).save(bomb, "PNG")
    for data, says in (
        (bomb.getvalue(), "64 megapixels"),
        (b"<svg xmlns='x'/>", "not an image"),
        (b"<html>", "not an image"),
        (b"", "empty"),
    ):
        answer = give(data)
        assert answer.status_code == 415 and says in answer.json()["error"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hardpairs.data.images.can_read_heic", lambda: False)
        answer = give(b"\0\0\0\x18ftypheic" + bytes(100))
        assert (
            answer.status_code == 415
            and "HEIC" in answer.json()["error"]
            and "pillow-heif" in answer.json()["error"]
        )
    assert give(bytes(21_000_000)).status_code == 413
    with socket.create_connection(
        ("127.0.0.1", site.port), 10
    ) as connection:  # a body of 1 GB that says no length
        connection.sendall(
            b"POST /asked HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        sent = 0
        try:
            while sent < 1_000_000_000:
                connection.sendall(b"100000\r\n" + bytes(1 << 20) + b"\r\n")
                sent += 1 << 20
        except OSError:
            pass
        assert sent < MAX_UPLOAD + 8_000_000  # what the sockets hold on the way
    assert "no longer kept" in site.answer(given="0" * 32)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "\x00\x1b\u2028",
        "x" * 1_000_000,
        "<script>alert(1)</script>",
        "${alert(1)} {{value}} @children",
    ],
)
def test_questions_of_all_kinds(site, text):
    start = time.perf_counter()
    found = site.answer(text)
    assert time.perf_counter() - start < 60 and 'class="grid"' in found
    assert (
        "<script" not in found
        and "${" not in found
        and "{{" not in found
        and "@children" not in found
    )
    if not text.strip("\x00\x1b\u2028 "):
        assert "Some of 12 photos" in found


@pytest.mark.parametrize("shown", [-1, 0, 1e9, "many", None, [1]])
def test_numbers_that_the_page_does_not_offer(site, shown):
    assert not site.ask(["picture", "", "", shown, False]).get("success")
    assert "picture" in site.answer("picture")  # the server goes on


def test_no_more_than_the_page_offers(site, library, photos, make_index):
    for i in range(120):
        (photos / f"more{i:03d}.jpg").write_bytes(picture(1000 + i))
    make_index()
    assert (
        len(listed(site.answer("picture", shown=96)))
        == len(listed(site.answer("picture", shown=24))) + 72
        == 96
    )
    content = PageContent([library], QueryImages([library]))
    for shown, count in ((10**9, 96), (-5, 1)):
        assert len(listed(answer(content, Query("picture"), shown, False)[0])) == count


def listed(found: str) -> list[tuple[str, float]]:
    """(id, similarity) of the photographs in an answer, in order."""
    return [
        (name, float(score))
        for name, score in re.findall(r'data-like="(\w+)".*?class="score"[^>]*>(-?[\d.]+)<', found)
    ]


def test_what_is_found_against_the_definition(site, library):
    """Words, words left out, a picture, all of them at once, and neighbours: which photographs, in which order, how similar."""
    index = library.index()
    ours = np.asarray(index.embeddings)
    given = post(f"{site.url}/asked", content=picture(500)).json()["id"]
    text, minus = text_vectors(library.encoders, ["picture number 7", "number 3"])
    seen = image_vector(library.encoders, decode(picture(500)))
    words = {"text": "picture number 7", "minus": "number 3", "given": given}
    signed = {"text": text, "minus": -minus, "given": seen}
    orders = set()
    for parts in (
        ("text",),
        ("text", "minus"),
        ("text", "given"),
        ("given",),
        ("minus",),
        ("given", "minus"),
        ("text", "minus", "given"),
    ):
        query = sum(signed[part] for part in parts)
        scores = ours @ (query / np.linalg.norm(query))
        found = listed(site.answer(**{part: words[part] for part in parts}))
        assert [name for name, _ in found] == [
            index.ids[row] for row in np.argsort(-scores, kind="stable")
        ]
        assert [score for _, score in found] == pytest.approx(np.sort(scores)[::-1], abs=0.0051)
        orders.add(tuple(score for _, score in found))
    assert len(orders) == 7  # each part has an effect
    for row in (0, 7):
        scores = ours @ ours[row]
        expected = [other for other in np.argsort(-scores, kind="stable") if other != row]
        (found,) = map(
            listed,
            answer(
                PageContent([library], QueryImages([library])),
                Query(like=index.ids[row]),
                24,
                False,
            ),
        )
        assert [name for name, _ in found] == [index.ids[other] for other in expected]
        assert [score for _, score in found] == pytest.approx(scores[expected], abs=0.0051)


def test_strange_bodies_do_no_harm(site):
    for body in (
        b"",
        b"{",
        b"[]",
        b'{"data": null, "fn_index": 99}',
        b'{"data": [], "fn_index": -1, "session_hash": "../x"}',
        bytes(1000),
    ):
        answer = post(
            f"{site.url}/gradio_api/queue/join",
            content=body,
            headers={"Content-Type": "application/json"},
        )
        assert 400 <= answer.status_code < 500 or answer.status_code == 200
    assert post(f"{site.url}/gradio_api/queue/join", content=bytes(3_000_000)).status_code == 413
    assert "picture" in site.answer("picture")


def test_twenty_users_at_once_while_the_index_changes(site, library, photos, make_index):
    """Each answer is whole, of one index or of the next, and of the user's own question."""
    before = set(library.index().ids)

    def user(number: int) -> list[tuple[str, float]]:
        found = listed(
            site.answer(f"picture number {number % 40}", session=f"user{number}", shown=96)
        )
        with httpx.Client(base_url=site.url, timeout=60) as client:
            assert all(client.get(f"/photo/{name}").status_code == 200 for name, _ in found)
        return found

    with ThreadPoolExecutor(20) as pool:
        waiting = [pool.submit(user, number) for number in range(20)]
        (photos / "new.jpg").write_bytes(picture(500))
        make_index()
        answers = [one.result(120) for one in waiting]
    index = library.index()
    for number, found in enumerate(answers):
        assert {name for name, _ in found} in (before, set(index.ids)) and len(found) in (12, 13)
        scores = (
            np.asarray(index.embeddings)
            @ text_vectors(library.encoders, [f"picture number {number % 40}"])[0]
        )
        expected = [scores[index.row_of[name]] for name, _ in found]
        assert expected == sorted(expected, reverse=True) and [
            score for _, score in found
        ] == pytest.approx(expected, abs=0.0051)
    assert len(listed(site.answer("picture", shown=96))) == 13


def test_a_photograph_that_is_gone_has_a_placeholder(site, library, photos):
    index = library.index()
    os.unlink(index.photos.paths[4])
    found = site.answer("picture number 3", shown=96)
    assert (
        found.count('class="photo-card gone"') == 1
        and "1 photo is no longer there" in found
        and "Index again" in found
    )
    assert get(f"{site.url}/photo/{index.ids[4]}").status_code == 404


def test_the_address():
    for host, token, says in (
        ("0.0.0.0", None, "other machines"),
        ("192.168.0.7", "short", "too easy"),
        ("::", "", "other machines"),
        ("0.0.0.0", "ä" * 12, "cannot stand"),
    ):
        with pytest.raises(UserError, match=says) as error:
            check_address(host, token)
        assert error.value.code == 2
    check_address("0.0.0.0", "a-long-enough-token")
    assert parse_args(["serve", "x"]).host == "127.0.0.1"
    first = bind("127.0.0.1", None)
    second = bind("127.0.0.1", None)
    ports = {first.getsockname()[1], second.getsockname()[1]}
    assert len(ports) == 2 and first.getsockname()[0] == "127.0.0.1"
    with pytest.raises(UserError, match="cannot listen") as error:
        bind("127.0.0.1", second.getsockname()[1])
    assert error.value.code == 2
    first.close(), second.close()
    for host, port in (("127.0.0.1", 70_000), ("no such name", 0), ("127.0.0.1", -1)):
        with pytest.raises(UserError, match="cannot listen") as error:
            bind(host, port)
        assert error.value.code == 2


def test_an_address_of_a_kind_that_the_machine_lacks(monkeypatch):
    def lacking(*_):
        raise OSError(97, "Address family not supported by protocol")

    monkeypatch.setattr(socket, "socket", lacking)
    with pytest.raises(
        UserError, match="cannot listen on ::1, port 7860: Address family not supported"
    ) as error:
        bind("::1", None)
    assert error.value.code == 2


def test_who_may_ask_a_real_server(photos, make_index, tmp_path):
    """``serve`` in a process of its own: by default on 127.0.0.1 alone; on all addresses with a token, and not without it."""
    make_index()
    index, token = str(tmp_path / "index"), "a-long-enough-token"
    with Served(index, "--port", "0", errors=tmp_path / "a") as url:
        port = int(url.rstrip("/").rpartition(":")[2])
        assert get(url, timeout=60).status_code == 200
        for other in ("127.0.0.2", socket.gethostbyname(socket.gethostname())):
            if other != "127.0.0.1":
                with pytest.raises(OSError), socket.create_connection((other, port), 5):
                    pass
    for arguments in ((), ("--token", "short")):
        refused = run(
            "python",
            "-m",
            "tools.photo_search",
            "serve",
            index,
            "--port",
            "0",
            "--host",
            "0.0.0.0",
            *arguments,
            timeout=60,
        )
        assert refused.returncode == 2 and refused.stdout == "" and "token" in refused.stderr
    with Served(
        index, "--port", "0", "--host", "0.0.0.0", "--token", token, errors=tmp_path / "b"
    ) as url:
        port = int(url.partition("/?token=")[0].rpartition(":")[2])
        for host in ("127.0.0.1", "127.0.0.2"):  # the second is another address of this machine
            assert get(f"http://{host}:{port}/", timeout=60).status_code == 401
            assert (
                get(
                    f"http://{host}:{port}/",
                    headers={"Authorization": f"Bearer {token}"},
                    timeout=60,
                ).status_code
                == 200
            )
    with Served(
        index, "--port", "0", "--token", token, errors=tmp_path / "c"
    ) as url:  # here, too, when it is given
        assert (
            get(url.partition("?")[0], timeout=60).status_code == 401
            and get(url, timeout=60).status_code == 303
        )


def test_an_empty_index_helps(tmp_path, checkpoint):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/broken.jpg").write_bytes(b"x")
    line = [
        "index",
        str(tmp_path / "photos"),
        "--out",
        str(tmp_path / "index"),
        "--model",
        MODEL,
        "--pretrained",
        str(checkpoint),
    ]
    assert main([*line, "--workers", "0"]) == 0
    library = Library(
        tmp_path / "index", open_model(Index.open(tmp_path / "index"), None, None, "cpu")
    )
    with Site(make_app(PageContent([library], QueryImages([library])))) as site:
        assert "holds no photo" in site.answer("") and "holds no photo" in site.answer("a dog")
    with pytest.raises(UserError, match="holds no photo"):
        main(["query", str(tmp_path / "index"), "a dog"])
