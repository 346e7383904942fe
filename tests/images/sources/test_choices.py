"""Which image of an index is meant: platforms, versions of Windows, and what is no image at all."""

from __future__ import annotations

import pytest

import imagelab as il
from tests.support.images import OCI, Layout, config_of, layer_tar, write_tar

TARS = [layer_tar([(b"file", "file", b"x" * number)]) for number in range(2)]


def many_platforms(tmp_path, *listed: tuple[dict, dict]) -> str:
    """An archive of an index of small images: each one's descriptor and config."""
    layout = Layout()
    images = [
        layout.image([], config=config_of([], created=f"2024-01-0{number + 1}T00:00:00Z", **config), **descriptor)
        for number, (descriptor, config) in enumerate(listed)
    ]
    index = {"schemaVersion": 2, "manifests": images}
    return f"oci-archive:{write_tar(tmp_path / 'x.tar', layout.close(layout.document(index, OCI + 'index.v1+json')))}"


def of(architecture: str, variant: str | None = None, **more) -> dict:
    told = {"architecture": architecture, "os": "linux", "variant": variant} | more
    return {"platform": {key: value for key, value in told.items() if value}}


@pytest.mark.parametrize("kind", ["oci.image.config", "docker.container.image"])
def test_descriptors_may_name_the_type_of_the_image_config(tmp_path, kind):
    """OCI 1.1 puts the config's type into artifactType where a manifest has none of its own."""
    descriptor = of("amd64") | {"artifactType": f"application/vnd.{kind}.v1+json"}
    assert il.load_image(many_platforms(tmp_path, (descriptor, {}))).platform == "linux/amd64"
    with pytest.raises(il.ArchiveError, match="without an image"):
        il.load_image(many_platforms(tmp_path, (descriptor | {"artifactType": "application/x"}, {})))


def test_signatures_and_attestations_under_an_images_config_are_artifacts(tmp_path):
    """As cosign and BuildKit push them."""
    for kind in ("application/vnd.dev.cosign.simplesigning.v1+json", "application/vnd.in-toto+json"):
        layout = Layout()
        layers = [layout.blob(b"{}", kind)]
        manifest = {
            "schemaVersion": 2,
            "config": layout.document(config_of([]), OCI + "config.v1+json"),
            "layers": layers,
        }
        layout.close(layout.document(manifest, OCI + "manifest.v1+json"))
        with pytest.raises(il.ArchiveError, match="not an image but an artifact under an image's config"):
            il.load_image(write_tar(tmp_path / "x.tar", layout))


def test_platforms_are_compared_as_containerd_normalises_them(tmp_path):
    arm64 = of("arm64", "v8")
    archive = many_platforms(
        tmp_path, (of("amd64"), {}), (arm64, {"architecture": "arm64"}),
        (of("arm", "v5"), {"architecture": "arm"}), (of("arm", "v7"), {"architecture": "arm", "variant": "v7"}),
        (of("ppc64le", "v9"), {"architecture": "ppc64le"}),
    )  # fmt: skip
    created = {
        "linux/arm64": 2, "linux/arm64/v8": 2, "linux/aarch64": 2, "linux/x86_64": 1, "linux/amd64/v1": 1,
        "linux/arm/v5": 3, "linux/arm": 4, "linux/arm/v7": 4, "linux/ppc64le": 5,
    }  # fmt: skip
    for platform, day in created.items():
        assert il.load_image(archive, platform=platform).config["created"].startswith(f"2024-01-0{day}"), platform
    for platform in ("linux/arm/v6", "linux/amd64/v3", "linux/ar", "windows/amd64", "x"):
        with pytest.raises(il.ImageNotFound, match=f"no image for {platform}"):
            il.load_image(archive, platform=platform)


def test_the_platform_to_the_letter_comes_first(tmp_path):
    archive = many_platforms(
        tmp_path, (of("arm", "v7"), {"architecture": "arm"}), (of("arm"), {"architecture": "arm"}), ({}, {})
    )
    for day, platform in enumerate(("linux/arm/v7", "linux/arm"), start=1):
        assert il.load_image(archive, platform=platform).config["created"] == f"2024-01-0{day}T00:00:00Z"


def test_a_cosign_signature_is_not_an_image(tmp_path):
    layout = Layout()
    image = layout.image(TARS[:1])
    name = f"sha256-{image['digest'][7:]}.sig"
    signature = layout.image(TARS[1:2], annotations={"org.opencontainers.image.ref.name": name})
    assert (
        il.load_image(write_tar(tmp_path / "x.tar", layout.close(image, signature))).manifest_digest == image["digest"]
    )


def test_the_variant_may_be_omitted(tmp_path):
    armv6 = of("arm", "v6")
    archive = many_platforms(tmp_path, (of("amd64"), {}), (armv6, {"architecture": "arm", "variant": "v6"}))
    assert il.load_image(archive, platform="linux/arm").platform == "linux/arm/v6"


def test_the_os_version_distinguishes_windows_images(tmp_path):
    both = [of("amd64", os="windows", **{"os.version": f"10.0.{build}.1"}) for build in (17763, 20348)]
    archive = many_platforms(tmp_path, *[(one, {"os": "windows"}) for one in both])
    for platform in (None, "windows/amd64"):
        with pytest.raises(il.ImageNotFound, match=r"windows\(10\.0\.17763\.1\)/amd64(.|\s)*windows\(10\.0\.20348"):
            il.load_image(archive, platform=platform)
    image = il.load_image(archive, platform="windows(10.0.20348.1)/amd64")
    assert image.config["created"] == "2024-01-02T00:00:00Z"


def test_images_that_differ_by_digest_only(tmp_path):
    named = of("amd64") | {"annotations": {"org.opencontainers.image.ref.name": "1"}}
    archive = many_platforms(tmp_path, (named, {}), (named, {}))
    with pytest.raises(il.ImageNotFound, match="its digest") as caught:
        il.load_image(archive)
    for digest in [line.strip() for line in str(caught.value).splitlines()[1:]]:
        assert il.load_image(f"{archive}:{digest}").manifest_digest == digest
