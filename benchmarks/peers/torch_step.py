"""The whole answer of a step with PyTorch's automatic differentiation, from and to plain lists."""

import torch

torch.set_num_threads(1)
ACTIVATIONS = {"relu": torch.relu, "sigmoid": torch.sigmoid}


def step(network, inputs, targets, learning_rate):
    x = torch.tensor(inputs, dtype=torch.float64, requires_grad=True)
    goal = torch.tensor(targets, dtype=torch.float64)
    weights = [torch.tensor(layer["weights"], dtype=torch.float64, requires_grad=True) for layer in network["layers"]]
    biases = [torch.tensor(layer["bias"], dtype=torch.float64, requires_grad=True) for layer in network["layers"]]
    trace, a = [], x
    for layer, w, b in zip(network["layers"], weights, biases, strict=True):
        z = a @ w + b
        activation = layer["activation"]
        a = torch.softmax(z, dim=1) if activation == "softmax" else ACTIVATIONS[activation](z)
        z.retain_grad()
        a.retain_grad()
        trace.append((z, a))
    example_losses = -(goal * torch.log(a)).sum(dim=1)
    loss = example_losses.mean()
    loss.backward()
    optimizer = torch.optim.SGD([*weights, *biases], lr=learning_rate)
    answer = {
        "outputs": a.tolist(),
        "loss": loss.item(),
        "example_losses": example_losses.tolist(),
        "layers": [
            {
                "preactivations": z.tolist(),
                "activations": a.tolist(),
                "gradients": {
                    "weights": w.grad.tolist(),
                    "bias": b.grad.tolist(),
                    "preactivations": z.grad.tolist(),
                    "activations": a.grad.tolist(),
                },
            }
            for (z, a), w, b in zip(trace, weights, biases, strict=True)
        ],
        "input_gradients": x.grad.tolist(),
    }
    optimizer.step()
    answer["network"] = {
        "layers": [
            {"weights": w.tolist(), "bias": b.tolist(), "activation": layer["activation"]}
            for layer, w, b in zip(network["layers"], weights, biases, strict=True)
        ]
    }
    return answer
