"""The names of classes as prompts of zero-shot classification say them."""

from __future__ import annotations

import open_clip

from hardpairs.core.errors import bad_input
from hardpairs.data.imagenet import WORDNET_ID, imagenet_ids


def prompt_names(folders: list[str], where: str) -> list[str]:
    """Return the names of class folders as prompts say them.

    Folders of ImageNet, which have ids, and of ImageNet-V2, which have the numbers 0 to 999, get
    OpenCLIP's names.

    Args:
        folders: Names of the class folders.
        where: The folder they are in, for errors.

    Raises:
        UserError: Exit 3 for ids that are not among ImageNet's 1,000.
    """
    if set(folders) == set(map(str, range(1000))):
        return [open_clip.IMAGENET_CLASSNAMES[int(name)] for name in folders]
    if not any(WORDNET_ID.fullmatch(name) for name in folders):
        return [name.replace("_", " ") for name in folders]
    of_id = dict(zip(imagenet_ids(), open_clip.IMAGENET_CLASSNAMES, strict=True))
    unknown = [name for name in folders if WORDNET_ID.fullmatch(name) and name not in of_id]
    if unknown:
        raise bad_input(
            f"{len(unknown)} class folders are WordNet ids outside ImageNet's 1,000 classes",
            where=f"{where}: {', '.join(unknown[:3])}",
            why="a prompt needs the name of the class",
            fix="rename the folders to the classes' names",
        )
    return [of_id.get(name, name.replace("_", " ")) for name in folders]
