"""What may be the name of a config file: a plain file name, so that a folder of them can be written and read back."""

from holdfast.features.config_files.errors import FilenameRefusedError

MAX_FILENAME = 200


def check_filename(filename: str) -> None:
    """Refuse what is no plain file name of at most `MAX_FILENAME` characters, with `FilenameRefusedError`."""
    if len(filename) > MAX_FILENAME:
        raise FilenameRefusedError(
            f"the filename is {len(filename):,} characters long; at most {MAX_FILENAME} are allowed"
        )
    if not filename or filename != filename.strip() or filename.startswith("."):
        raise FilenameRefusedError(
            "the filename must not be empty, begin with a dot, or begin or end with a space: name it like web.yaml"
        )
    if "/" in filename or "\\" in filename or not filename.isprintable():
        raise FilenameRefusedError("the filename must hold no slash and no control character: name it like web.yaml")
