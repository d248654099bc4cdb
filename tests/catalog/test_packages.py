"""Packages are fetched by the registries' own clients, checked, and read. Servers and folders are local."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import shutil
import threading
from dataclasses import replace

import pytest

from hardpairs.catalog.packages import Package, default_folder, fetch_packages, members, read_json
from hardpairs.core.errors import UserError
from tests.catalog.made import debian_package, npm_package, pinned, wheel

needs_npm = pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg is not installed")


@pytest.fixture
def package(tmp_path):
    path = npm_package(
        tmp_path / "made/demo-icons-1.0.0.tgz",
        {"package.json": {"name": "@demo/icons", "version": "1.0.0"}, "icons.json": {"a": 1}},
    )
    return pinned(path, "npm", "@demo/icons", "1.0.0")


def test_a_file_in_the_folder_is_checked_and_no_client_is_called(package, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    archives = fetch_packages([package], tmp_path / "made")
    content = dict(members(archives["@demo/icons"]))
    assert read_json(content["package/icons.json"]) == {"a": 1}
    with pytest.raises(
        UserError, match="not the file of @demo/icons 1.0.0 that was pinned"
    ) as error:
        fetch_packages([replace(package, sha256="0" * 64)], tmp_path / "made")
    assert error.value.code == 4


@pytest.mark.parametrize("registry", ["npm", "Debian"])
def test_without_its_client_the_package_and_the_way_out_are_named(
    package, tmp_path, monkeypatch, registry
):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="cannot be had: .* is not installed here") as error:
        fetch_packages([replace(package, registry=registry)], tmp_path / "cache")
    assert error.value.code == 3
    assert "@demo/icons" in error.value.what and f"into {tmp_path / 'cache'}" in error.value.fix


@pytest.fixture
def registry(package, tmp_path, monkeypatch):
    """A registry of npm on the loopback interface, with one package."""
    tarball = (tmp_path / "made" / package.file).read_bytes()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            integrity = base64.b64encode(hashlib.sha512(tarball).digest()).decode()
            dist = {"tarball": f"{address}/file.tgz", "integrity": f"sha512-{integrity}"}
            version = {"name": package.name, "version": package.version, "dist": dist}
            body = tarball
            if not self.path.endswith(".tgz"):
                known = "demo" in self.path
                body = json.dumps(
                    {
                        "name": package.name,
                        "versions": {package.version: version} if known else {},
                        "dist-tags": {"latest": package.version} if known else {},
                    }
                ).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    address = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("npm_config_registry", address)
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm"))
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    yield server
    server.shutdown()


@needs_npm
def test_npm_fetches_what_is_missing_once(package, registry, tmp_path):
    folder = tmp_path / "cache"
    path = fetch_packages([package], folder)[package.name]
    assert [file.name for file in folder.iterdir()] == [package.file]
    assert dict(members(path)).keys() == {"package/package.json", "package/icons.json"}
    registry.shutdown()
    registry.server_close()
    assert fetch_packages([package], folder) == {package.name: path}
    other = replace(package, version="1.0.1", file="demo-icons-1.0.1.tgz")
    with pytest.raises(UserError, match="demo/icons 1.0.1 cannot be had: npm error") as error:
        fetch_packages([other], folder)
    assert error.value.code == 3 and "npm pack" in error.value.fix
    assert [file.name for file in folder.iterdir()] == [package.file]


def test_pip_fetches_a_wheel_without_installing_it(tmp_path, monkeypatch):
    name = "demo_towers-1.0-py3-none-any.whl"
    metadata = (
        b"Metadata-Version: 2.1\nName: demo-towers\nVersion: 1.0\nRequires-Dist: nothing-such\n"
    )
    path = wheel(
        tmp_path / "links" / name,
        {
            "demo_towers/weights.bin": b"weights",
            "demo_towers-1.0.dist-info/METADATA": metadata,
            "demo_towers-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            "demo_towers-1.0.dist-info/RECORD": b"",
        },
    )
    package = pinned(path, "PyPI", "demo-towers", "1.0")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(path.parent))
    fetched = fetch_packages([package], tmp_path / "cache")["demo-towers"]
    assert dict(members(fetched))["demo_towers/weights.bin"] == b"weights"
    with pytest.raises(UserError, match="other-towers 1.0 cannot be had: ERROR: ") as error:
        fetch_packages([replace(package, name="other-towers", file="x.whl")], tmp_path / "cache")
    assert error.value.code == 3


@needs_dpkg
def test_a_debian_package_is_read_with_its_links(tmp_path):
    files = {"usr/share/a.txt": b"first", "usr/share/b/c.txt": b"second"}
    links = {"usr/share/d.txt": "b/c.txt", "usr/share/gone.txt": "/etc/nothing-such"}
    path = debian_package(tmp_path / "demo_1%3a2.0-1_all.deb", files, tmp_path / "root", links)
    assert dict(members(path)) == {**files, "usr/share/d.txt": b"second"}


def test_without_dpkg_a_debian_package_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    (tmp_path / "a.deb").touch()
    with pytest.raises(UserError, match="dpkg-deb is not installed here") as error:
        list(members(tmp_path / "a.deb"))
    assert error.value.code == 3


def test_packages_are_kept_in_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "openclip-hardpairs/packages"


def test_the_commands_name_one_version():
    package = Package("Debian", "clip-art", "1:2-3", "f", "0")
    assert package.command == ["apt-get", "download", "--quiet", "clip-art=1:2-3"]
