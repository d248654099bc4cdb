"""The guard before a server that answers everything, over real HTTP."""

from __future__ import annotations

import httpx
import pytest

from hardpairs.photos.guard import JOIN_PATH, MAX_POST, Guard
from tests.photos.web import Site, get, post, request

TOKEN = "a-long-enough-token"
PHOTO = "/photo/0123456789abcdef"


async def whatever(scope, receive, send):
    """Answer every request with 200, once its body has come."""
    while (await receive()).get("more_body"):
        pass
    fails = scope["path"] == JOIN_PATH and scope["method"] == "POST"
    head = {"status": 500 if fails else 200, "headers": [(b"Referrer-Policy", b"x")]}
    await send({"type": "http.response.start", **head})
    await send({"type": "http.response.body", "body": b"content"})
    if fails:
        raise KeyError("no such function")  # as Gradio does, behind an answer of 500


@pytest.fixture(scope="module")
def site():
    with Site(Guard(whatever)) as site:
        yield site


@pytest.fixture(scope="module")
def guarded():
    """Two servers of this host that ask for tokens."""
    with (
        Site(Guard(whatever, hosts=None, token=TOKEN)) as first,
        Site(Guard(whatever, hosts=None, token=f"another-{TOKEN}")) as second,
    ):
        yield first, second


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", {"Host": "evil.example"}, 403),
        ("GET", {"Host": "127.0.0.1.evil.example:7860"}, 403),
        ("GET", {"Host": ""}, 403),
        ("GET", {"Host": "localhost:7860"}, 200),
        ("GET", {"Host": "[::1]:7860"}, 200),
        ("POST", {"Origin": "http://evil.example"}, 403),
        ("POST", {"Origin": "null"}, 403),
        ("POST", {"Origin": "http://127.0.0.1:1"}, 403),
        ("GET", {"Origin": "http://evil.example"}, 403),
        ("POST", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"}, 403),
        ("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document"}, 200),
    ],
)
def test_other_sites_are_refused(site, method, headers, status):
    answer = request(method, site.url, headers=headers, content=b"")
    assert answer.status_code == status
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers.get_list("referrer-policy") == ["no-referrer"]
    assert "default-src 'self'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (PHOTO, 200),
        (f"{PHOTO}/large", 200),
        ("/assets/index-1.js", 200),
        ("/gradio_api/heartbeat/abc", 200),
        (f"{PHOTO}0", 404),
        ("/photo/0123456789ABCDEF", 404),
        ("/assets/%2e%2e/secret", 404),
        ("/gradio_api/file=secret", 404),
        ("/docs", 404),
    ],
)
def test_only_the_pages_own_paths_are_passed_on(site, path, status):
    assert get(site.url + path).status_code == status


def test_bodies_have_a_limit(site):
    def give(data: bytes) -> int:
        return post(f"{site.url}/config", content=data).status_code

    assert (give(bytes(MAX_POST)), give(bytes(MAX_POST + 1))) == (200, 413)
    assert post(f"{site.url}/asked", content=bytes(MAX_POST + 1)).status_code == 200
    words = b"POST /config HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: -1\r\n\r\n"
    assert site.raw(words).split(b" ", 2)[1] == b"400"


def test_a_call_of_no_function_is_the_visitors_error(site):
    """Not the server's, which goes on."""
    assert post(f"{site.url}{JOIN_PATH}", content=b"{}").status_code == 400
    assert get(site.url).status_code == 200


def test_a_token_for_other_machines(guarded):
    site = guarded[0]
    name = f"photo_search_token_{site.port}"
    with httpx.Client(base_url=site.url, follow_redirects=True, timeout=60) as client:
        strangers = (
            f'prefs={{"a":1}}; {name}=wrong',
            f"k,ey=1; =; ;;; {name}",
            f"{name}s={TOKEN}",
            f"{name[:-1]}={TOKEN}",
        )
        wrong = ({}, {"Authorization": "Bearer wrong"}, *({"Cookie": text} for text in strangers))
        for headers in wrong:
            for path in ("/", PHOTO):
                assert client.get(path, headers=headers).status_code == 401
        assert client.get("/", params={"token": "wrong"}).status_code == 401
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        assert client.get(PHOTO, headers=bearer).status_code == 200
        # Cookies of a host's other servers are sent to this one, too.
        for strange in ('prefs={"a":1}', "k,ey=1", 'bad="', "="):
            cookies = {"Cookie": f"{strange}; {name}={TOKEN}; z=[]"}
            assert client.get(PHOTO, headers=cookies).status_code == 200
        opened = client.get("/", params={"token": TOKEN})
        assert opened.status_code == 200 and "token" not in str(opened.url)
        assert client.get(PHOTO).status_code == 200
        cookie = opened.history[0].headers["set-cookie"]
        assert "HttpOnly" in cookie and "SameSite=Strict" in cookie


def test_a_browser_keeps_the_tokens_of_two_servers(guarded):
    """It keeps cookies by host, whatever the port."""
    with httpx.Client(follow_redirects=True, timeout=60) as browser:
        for site, token in zip(guarded, (TOKEN, f"another-{TOKEN}"), strict=True):
            browser.get(site.url, params={"token": token})
        assert [browser.get(site.url).status_code for site in guarded] == [200, 200]
