"""LitServe with PyTorch: `python -m benchmarks.peers.litserve_torch PORT`."""

import sys

import litserve

from benchmarks.peers.torch_step import step


class StepAPI(litserve.LitAPI):
    def setup(self, device):
        self.step = step

    def decode_request(self, request):
        return request

    def predict(self, asked):
        return self.step(asked["network"], asked["inputs"], asked["targets"], asked["optimizer"]["learning_rate"])

    def encode_response(self, output):
        return output


if __name__ == "__main__":
    server = litserve.LitServer(StepAPI(), accelerator="cpu", timeout=120)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False)
