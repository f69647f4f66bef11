"""The same network behind LitServe, batched: MODEL=... python litserve_program.py PORT."""

import sys

import litserve
import torch
from fastapi import UploadFile


class Classifier(litserve.LitAPI):
    """Decodes in its server process, and computes in one worker."""

    def setup(self, device: str) -> None:  # noqa: ARG002 - always the CPU
        """Load the network in the worker."""
        from fastapi_program import metadata, model, to_tensor

        self.model, self.to_tensor, self.classes = model, to_tensor, metadata.classes

    def decode_request(self, request: UploadFile) -> torch.Tensor:
        """Decode a picture."""
        return self.to_tensor(request.file.read())

    def predict(self, images: torch.Tensor) -> torch.Tensor:
        """Compute a batch."""
        with torch.inference_mode():
            return self.model(images).softmax(1)  # noqa: SO306 - not softonce

    def encode_response(self, output: torch.Tensor) -> dict[str, float]:
        """Name the probabilities."""
        return dict(zip(self.classes, output.tolist(), strict=True))


if __name__ == "__main__":
    api = Classifier(max_batch_size=32, batch_timeout=0.002)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(port=int(sys.argv[1]), host="127.0.0.1", num_api_servers=1, log_level="warning",
               generate_client_file=False)  # fmt: skip
