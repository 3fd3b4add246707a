"""Generated code for another version of the package is refused."""

import pytest

from libvirt_proto.codec import api_version


def test_code_for_another_runtime_says_what_to_do() -> None:
    api_version.require_api(api_version.API_VERSION)
    with pytest.raises(ImportError) as caught:
        api_version.require_api(99)
    assert str(caught.value) == (
        f"generated for API 99, while the installed libvirt_proto has API {api_version.API_VERSION}: "
        "run `libvirt-proto generate` again"
    )
