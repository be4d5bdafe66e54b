"""The same networks written once more in torch, module names as torchvision has them (Caffe's for the 2012 AlexNet).

`forward` gives every activation under our layers' names; the last is the logits. Widths are arguments, so that
tests can be small.
"""

import torch
from torch import Tensor, nn

Activations = dict[str, Tensor]


class Vgg(nn.Module):
    def __init__(self, blocks, hidden: int, classes: int, size, norm: bool = False):
        super().__init__()
        features: list[nn.Module] = []
        self.names: list[str] = []
        inside = 3
        for i, block in enumerate(blocks, 1):
            for j, outside in enumerate(block, 1):
                features.append(nn.Conv2d(inside, outside, 3, padding=1))
                features += [nn.BatchNorm2d(outside)] * norm
                self.names += [f"conv{i}_{j}"] * (1 + norm) + [f"relu{i}_{j}"]
                features.append(nn.ReLU())
                inside = outside
            features.append(nn.MaxPool2d(2, 2))
            self.names.append(f"pool{i}")
        self.features = nn.Sequential(*features)
        pixels = (size[0] >> len(blocks)) * (size[1] >> len(blocks))
        self.classifier = nn.Sequential(
            nn.Linear(inside * pixels, hidden), nn.ReLU(), nn.Dropout(),
            nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(),
            nn.Linear(hidden, classes),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Activations:
        done = {}
        for name, module in zip(self.names, self.features):
            done[name] = x = module(x)  # a norm overwrites its convolution
        x = x.flatten(1)
        for name, module in zip(("fc6", "relu6", "", "fc7", "relu7", "", "fc8"), self.classifier):
            done[name] = x = module(x)
        return done


class AlexNet(nn.Module):
    names = (
        "conv1", "relu1", "pool1", "conv2", "relu2", "pool2",
        "conv3", "relu3", "conv4", "relu4", "conv5", "relu5", "pool5",
    )  # fmt: skip

    def __init__(self, widths, hidden: int, classes: int, pixels: int):
        super().__init__()
        a, b, c, d, e = widths
        self.features = nn.Sequential(
            nn.Conv2d(3, a, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(a, b, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(b, c, 3, padding=1), nn.ReLU(),
            nn.Conv2d(c, d, 3, padding=1), nn.ReLU(),
            nn.Conv2d(d, e, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
        )  # fmt: skip
        self.classifier = nn.Sequential(
            nn.Dropout(), nn.Linear(e * pixels, hidden), nn.ReLU(),
            nn.Dropout(), nn.Linear(hidden, hidden), nn.ReLU(),
            nn.Linear(hidden, classes),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Activations:
        done = {}
        for name, module in zip(self.names, self.features):
            done[name] = x = module(x)
        x = x.flatten(1)
        for name, module in zip(("", "fc6", "relu6", "", "fc7", "relu7", "fc8"), self.classifier):
            done[name] = x = module(x)
        return done


class AlexNet2012(nn.Module):
    def __init__(self, widths, hidden: int, classes: int, pixels: int):
        super().__init__()
        a, b, c, d, e = widths
        self.conv1 = nn.Conv2d(3, a, 11, 4)
        self.conv2 = nn.Conv2d(a, b, 5, padding=2, groups=2)
        self.conv3 = nn.Conv2d(b, c, 3, padding=1)
        self.conv4 = nn.Conv2d(c, d, 3, padding=1, groups=2)
        self.conv5 = nn.Conv2d(d, e, 3, padding=1, groups=2)
        self.fc6 = nn.Linear(e * pixels, hidden)
        self.fc7 = nn.Linear(hidden, hidden)
        self.fc8 = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Activations:
        done = {}
        for i in range(1, 6):
            done[f"conv{i}"] = x = getattr(self, f"conv{i}")(x)
            done[f"relu{i}"] = x = torch.relu(x)
            if i < 3:
                done[f"norm{i}"] = x = nn.functional.local_response_norm(x, 5, alpha=1e-4, beta=0.75, k=1.0)
            if i in (1, 2, 5):
                done[f"pool{i}"] = x = nn.functional.max_pool2d(x, 3, 2, ceil_mode=True)
        x = x.flatten(1)
        for i in (6, 7):
            done[f"fc{i}"] = x = getattr(self, f"fc{i}")(x)
            done[f"relu{i}"] = x = torch.relu(x)
        done["fc8"] = self.fc8(x)
        return done


class Fire(nn.Module):
    def __init__(self, inside: int, squeeze: int, expand: int):
        super().__init__()
        self.squeeze = nn.Conv2d(inside, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x: Tensor, name: str) -> Activations:
        done = {f"{name}_squeeze": self.squeeze(x)}
        done[f"{name}_squeeze_relu"] = x = torch.relu(done[f"{name}_squeeze"])
        done[f"{name}_expand1x1"], done[f"{name}_expand3x3"] = self.expand1x1(x), self.expand3x3(x)
        done[name] = torch.cat([torch.relu(done[f"{name}_expand1x1"]), torch.relu(done[f"{name}_expand3x3"])], 1)
        return done


class SqueezeNet(nn.Module):
    def __init__(self, stem: int, fires, classes: int):
        super().__init__()
        features: list[nn.Module] = [nn.Conv2d(3, stem, 3, 2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True)]
        inside = stem
        for widths in fires:
            if widths is None:
                features.append(nn.MaxPool2d(3, 2, ceil_mode=True))
            else:
                features.append(Fire(inside, *widths))
                inside = 2 * widths[1]
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(), nn.Conv2d(inside, classes, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))

    def forward(self, x: Tensor) -> Activations:
        done, fire = {}, 1
        for module, name in zip(self.features, ("conv1", "relu1", "pool1", *[""] * len(self.features))):
            if isinstance(module, Fire):
                fire += 1
                done |= module(x, f"fire{fire}")
                x = done[f"fire{fire}"]
            else:
                done[name or f"pool{fire}"] = x = module(x)
        for name, module in zip(("", "conv10", "relu10", "pool10"), self.classifier):
            done[name] = x = module(x)
        done["pool10"] = x.flatten(1)
        return done


class Bottleneck(nn.Module):
    def __init__(self, inside: int, width: int, stride: int, first: bool, stride_at: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inside, width, 1, stride if stride_at == 1 else 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride if stride_at == 2 else 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        if first:
            self.downsample = nn.Sequential(
                nn.Conv2d(inside, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
            )

    def forward(self, x: Tensor, name: str) -> Activations:
        done = {f"{name}_conv1": self.bn1(self.conv1(x))}
        done[f"{name}_relu1"] = torch.relu(done[f"{name}_conv1"])
        done[f"{name}_conv2"] = self.bn2(self.conv2(done[f"{name}_relu1"]))
        done[f"{name}_relu2"] = torch.relu(done[f"{name}_conv2"])
        done[f"{name}_conv3"] = self.bn3(self.conv3(done[f"{name}_relu2"]))
        if hasattr(self, "downsample"):
            done[f"{name}_downsample"] = x = self.downsample(x)
        done[f"{name}_add"] = done[f"{name}_conv3"] + x
        done[name] = torch.relu(done[f"{name}_add"])
        return done


class ResNet(nn.Module):
    """A stage's stride is on its first 3x3 convolution (`stride_at=2`, torchvision) or 1x1 (`stride_at=1`, Keras)."""

    def __init__(self, widths, blocks, classes: int, stride_at: int = 2):
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        inside = widths[0]
        for i, (width, count) in enumerate(zip(widths, blocks), 1):
            layer = nn.Sequential()
            for j in range(count):
                layer.append(Bottleneck(inside, width, 2 if i > 1 and j == 0 else 1, j == 0, stride_at))
                inside = 4 * width
            setattr(self, f"layer{i}", layer)
        self.stages = len(widths)
        self.fc = nn.Linear(inside, classes)

    def forward(self, x: Tensor) -> Activations:
        done = {"conv1": self.bn1(self.conv1(x))}
        done["relu1"] = torch.relu(done["conv1"])
        done["pool1"] = x = nn.functional.max_pool2d(done["relu1"], 3, 2, 1)
        for i in range(1, self.stages + 1):
            for j, block in enumerate(getattr(self, f"layer{i}")):
                done |= block(x, f"layer{i}_{j}")
                x = done[f"layer{i}_{j}"]
        done["avgpool"] = x.mean((2, 3))
        done["fc"] = self.fc(done["avgpool"])
        return done


def settled(model: nn.Module, seed: int = 0) -> nn.Module:
    """The model for inference, with random weights and random statistics in its batch norms."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5, generator=generator)
            for tensor in (module.bias, module.running_mean):
                nn.init.normal_(tensor, 0, 0.2, generator=generator)
        elif isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
            if module.bias is not None:
                nn.init.normal_(module.bias, 0, 0.1, generator=generator)
    return model.eval()
