"""Samples as img2dataset writes them."""

import json

from tests.helpers import picture, write_tar


def with_facts(group, digest):
    """Members of a sample as img2dataset writes them, with or without a group and a hash of the image."""
    facts = {
        "url": "http://x/1.jpg",
        **({"group": group} if group else {}),
        **({"sha256": digest} if digest else {}),
    }
    return {"jpg": picture(1), "txt": b"some words", "json": json.dumps(facts).encode()}


def write_collections(tmp_path):
    """Write two collections whose shards and keys have equal names; return their shards."""
    paths = []
    for number, name in enumerate(("cc3m", "cc12m")):
        rows = {f"{i:09d}": with_facts(None, "") for i in range(8)}
        for i, members in enumerate(rows.values()):
            members |= {"jpg": picture(10 * number + i), "txt": f"{name} {i}".encode()}
        paths.append(str(write_tar(tmp_path / name / "00000.tar", rows)))
    return paths
