"""One small classifier and what it is exported to; each file is made once a session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import MakePhotos

from softonce import ExportConfig, create_model, export
from softonce.artefact import Metadata, write_artefact
from softonce.models.network import architecture_of
from softonce.preprocessing import Preprocessing

Export = Callable[..., Path]


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory, make_photos: MakePhotos) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "photos"
    make_photos(folder / "train", per_class=3)
    return make_photos(folder / "test", per_class=2, size=(61, 47)).parent


@pytest.fixture(scope="session")
def artefact(photos: Path) -> Path:
    torch.manual_seed(0)
    model = create_model("cifar_resnet20", num_classes=3)
    with torch.no_grad():
        for _ in range(2):  # so that the statistics are not their initial values
            model(torch.randn(8, 3, 16, 16))
    arch, arch_args = architecture_of(model)
    metadata = Metadata(
        arch=arch,
        arch_args=arch_args,
        classes=("ants", "bees", "wasps"),
        preprocessing=Preprocessing(size=16, resize=19),
        temperature=1.5,
    )
    path = photos.parent / "model.safetensors"
    write_artefact(path, model.state_dict(), metadata)
    return path


@pytest.fixture(scope="session")
def exported(artefact: Path, photos: Path) -> Export:
    """Return `exported("openvino", precision=...)` -> the file."""

    def make(to: str, **options: str) -> Path:
        name = "-".join([to, *options.values()])
        config = ExportConfig(artefact, to=to, data=photos, samples=5, **options)
        file = artefact.with_name(name + config.file.suffix)
        if not file.exists():
            written = export(
                ExportConfig(artefact, to=to, data=photos, samples=5, output=file, **options)
            )
            assert written.is_written, written.parity
        return file

    return make
