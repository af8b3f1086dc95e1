"""Folders of the user's, as the XDG rules name them."""

from __future__ import annotations

import os
from pathlib import Path

from streams.errors import ConfigurationError


def user_folder(variable: str, inside_home: str, instead: str) -> Path:
    """The folder that the variable names, or the one inside the home. `instead`: what else can be given.

    Raises ConfigurationError where nobody says where: a user without a home and without an entry in /etc/passwd.
    """
    if base := os.environ.get(variable):
        return Path(base)
    try:
        return Path.home() / inside_home
    except RuntimeError as error:
        raise ConfigurationError(
            f"this user (uid {os.getuid()}) has no home folder, so there is no place for it: {instead}, or set "
            f"{variable} to a folder, such as {variable}=/var/tmp/sluicegate"
        ) from error
