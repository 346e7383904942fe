"""Frames of images that come with imagelab."""

import pytest

import imagelab as il

BEFORE, AFTER = "example:chmod-in-layer-before", "example:chmod-in-layer-after"


@pytest.fixture(scope="session")
def images():
    return [il.load_image(BEFORE), il.load_image(AFTER)]


@pytest.fixture(scope="session")
def history(images):
    return il.history(images)


@pytest.fixture(scope="session")
def layers(images):
    return il.layers(images)


@pytest.fixture(scope="session")
def sharing(images):
    return il.compare_layers(images)


@pytest.fixture(scope="session")
def files(images):
    return il.files(images[0])
