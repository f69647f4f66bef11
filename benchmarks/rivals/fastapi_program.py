"""What people write: a network behind FastAPI. MODEL=FILE uvicorn fastapi_program:app."""

import io
import os
from pathlib import Path

import numpy as np
import torch
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from PIL import Image

from softonce.artefact import read_artefact
from softonce.models import create_model

torch.set_num_threads(1)
tensors, metadata = read_artefact(Path(os.environ["MODEL"]))
model = create_model(metadata.arch, **metadata.arch_args).eval()
model.load_state_dict(tensors)
size = metadata.preprocessing.size
mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
app = FastAPI()


def to_tensor(data: bytes) -> torch.Tensor:
    image = Image.open(io.BytesIO(data)).convert("RGB").resize((size, size), Image.BILINEAR)
    return (torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1) / 255 - mean) / std


def answer(data: bytes) -> dict[str, float]:
    with torch.inference_mode():
        probs = model(to_tensor(data)[None]).softmax(1)[0]  # noqa: SO306 - not softonce
    return dict(zip(metadata.classes, probs.tolist(), strict=True))


@app.post("/predict")
async def predict(request: Request) -> dict[str, float]:
    return await run_in_threadpool(answer, await request.body())
