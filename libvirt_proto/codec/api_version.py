"""The version of the interface between generated code and this package."""

from typing import Final

#: The version that generated code requires; incremented by a change that older code would not survive.
API_VERSION: Final = 3


def require_api(version: int) -> None:
    """Called by generated modules: ImportError if they were generated for another runtime."""
    if version != API_VERSION:
        raise ImportError(
            f"generated for API {version}, while the installed libvirt_proto has API {API_VERSION}: "
            "run `libvirt-proto generate` again"
        )
