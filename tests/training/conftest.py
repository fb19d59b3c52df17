"""What several of the trainer's tests train, and on what."""

import pytest
from tiny_data import make_parts
from tiny_models import FAMILIES, save_tiny_model


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    return make_parts(tmp_path_factory.mktemp("parts"))


@pytest.fixture(scope="module", params=FAMILIES)
def model_dir(request, tmp_path_factory):
    return save_tiny_model(request.param, tmp_path_factory.mktemp(request.param) / "model")
