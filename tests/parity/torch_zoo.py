"""More published networks written once more in torch, with the names of those who publish them; widths are arguments.

`forward` gives logits.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class BasicBlock(nn.Module):
    def __init__(self, inside: int, width: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inside, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        if stride != 1 or inside != width:
            self.downsample = nn.Sequential(nn.Conv2d(inside, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + (self.downsample(x) if hasattr(self, "downsample") else x))


class BasicResNet(nn.Module):
    def __init__(self, widths, blocks, classes: int):
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        inside, self.stages = widths[0], len(widths)
        for i, (width, count) in enumerate(zip(widths, blocks), 1):
            layer = nn.Sequential()
            for j in range(count):
                layer.append(BasicBlock(inside, width, 2 if i > 1 and j == 0 else 1))
                inside = width
            setattr(self, f"layer{i}", layer)
        self.fc = nn.Linear(inside, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for i in range(1, self.stages + 1):
            x = getattr(self, f"layer{i}")(x)
        return self.fc(x.mean((2, 3)))


class SameConv(nn.Conv2d):
    """TensorFlow's padding, of the image that comes."""

    def forward(self, x: Tensor) -> Tensor:
        pads = []
        for side, kernel, stride in zip(reversed(x.shape[2:]), reversed(self.kernel_size), reversed(self.stride)):
            total = max(0, (-(-side // stride) - 1) * stride + kernel - side)
            pads += [total // 2, total - total // 2]
        return super().forward(functional.pad(x, pads))


class LiteBlock(nn.Module):
    def __init__(self, inside: int, kernel: int, stride: int, expansion: int, features: int):
        super().__init__()
        wide = inside * expansion
        if expansion > 1:
            self._expand_conv = SameConv(inside, wide, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(wide, eps=1e-3)
        self._depthwise_conv = SameConv(wide, wide, kernel, stride, groups=wide, bias=False)
        self._bn1 = nn.BatchNorm2d(wide, eps=1e-3)
        self._project_conv = SameConv(wide, features, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(features, eps=1e-3)
        self.skips = stride == 1 and inside == features

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu6(self._bn0(self._expand_conv(x))) if hasattr(self, "_bn0") else x
        y = self._bn2(self._project_conv(functional.relu6(self._bn1(self._depthwise_conv(y)))))
        return x + y if self.skips else y


class EfficientNetLite(nn.Module):
    """efficientnet_pytorch's names."""

    def __init__(self, stages, ends, classes: int):
        super().__init__()
        self._conv_stem = SameConv(3, ends[0], 3, 2, bias=False)
        self._bn0 = nn.BatchNorm2d(ends[0], eps=1e-3)
        self._blocks = nn.ModuleList()
        inside = ends[0]
        for repeats, kernel, stride, expansion, features in stages:
            for repeat in range(repeats):
                self._blocks.append(LiteBlock(inside, kernel, 1 if repeat else stride, expansion, features))
                inside = features
        self._conv_head = SameConv(inside, ends[1], 1, bias=False)
        self._bn1 = nn.BatchNorm2d(ends[1], eps=1e-3)
        self._fc = nn.Linear(ends[1], classes)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        return self._fc(functional.relu6(self._bn1(self._conv_head(x))).mean((2, 3)))


def conv_norm(inside: int, features: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inside, features, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(features), nn.ReLU6())


class InvertedResidual(nn.Module):
    def __init__(self, inside: int, kernel: int, stride: int, expansion: int, features: int):
        super().__init__()
        wide = inside * expansion
        layers = [conv_norm(inside, wide, 1)] if expansion > 1 else []
        layers += [conv_norm(wide, wide, kernel, stride, wide), nn.Conv2d(wide, features, 1, bias=False)]
        self.conv = nn.Sequential(*layers, nn.BatchNorm2d(features))
        self.skips = stride == 1 and inside == features

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.skips else self.conv(x)


class MobileNetV2(nn.Module):
    """torchvision's names."""

    def __init__(self, stages, ends, classes: int):
        super().__init__()
        features, inside = [conv_norm(3, ends[0], 3, 2)], ends[0]
        for repeats, kernel, stride, expansion, width in stages:
            for repeat in range(repeats):
                features.append(InvertedResidual(inside, kernel, 1 if repeat else stride, expansion, width))
                inside = width
        self.features = nn.Sequential(*features, conv_norm(inside, ends[1], 1))
        self.classifier = nn.Sequential(nn.Dropout(), nn.Linear(ends[1], classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


class DenseLayer(nn.Module):
    def __init__(self, inside: int, growth: int):
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(inside), nn.Conv2d(inside, 4 * growth, 1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(4 * growth), nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(torch.relu(self.norm1(x)))
        return torch.cat([x, self.conv2(torch.relu(self.norm2(y)))], 1)


class DenseNet(nn.Module):
    """torchvision's names."""

    def __init__(self, blocks, growth: int, stem: int, classes: int):
        super().__init__()
        self.features = nn.Sequential()
        add = self.features.add_module
        add("conv0", nn.Conv2d(3, stem, 7, 2, 3, bias=False))
        add("norm0", nn.BatchNorm2d(stem))
        add("relu0", nn.ReLU())
        add("pool0", nn.MaxPool2d(3, 2, 1))
        inside = stem
        for i, count in enumerate(blocks, 1):
            block = nn.Sequential()
            for j in range(1, count + 1):
                block.add_module(f"denselayer{j}", DenseLayer(inside, growth))
                inside += growth
            add(f"denseblock{i}", block)
            if i < len(blocks):
                transition = nn.Sequential()
                transition.add_module("norm", nn.BatchNorm2d(inside))
                transition.add_module("relu", nn.ReLU())
                transition.add_module("conv", nn.Conv2d(inside, inside // 2, 1, bias=False))
                transition.add_module("pool", nn.AvgPool2d(2, 2))
                add(f"transition{i}", transition)
                inside //= 2
        add("norm5", nn.BatchNorm2d(inside))
        self.classifier = nn.Linear(inside, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.relu(self.features(x)).mean((2, 3)))


class BasicConv(nn.Module):
    def __init__(self, inside: int, features: int, kernel: int, stride: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(inside, features, kernel, stride, kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(features, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.bn(self.conv(x)))


class Inception(nn.Module):
    def __init__(self, inside: int, widths):
        super().__init__()
        one, reduce, three, second_reduce, second, pooled = widths
        self.branch1 = BasicConv(inside, one, 1)
        self.branch2 = nn.Sequential(BasicConv(inside, reduce, 1), BasicConv(reduce, three, 3))
        self.branch3 = nn.Sequential(BasicConv(inside, second_reduce, 1), BasicConv(second_reduce, second, 3))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, 1, ceil_mode=True), BasicConv(inside, pooled, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class GoogLeNet(nn.Module):
    """torchvision's names, an auxiliary classifier's among them, which inference leaves out."""

    def __init__(self, stem, modules, classes: int):
        super().__init__()
        self.conv1, self.conv2 = BasicConv(3, stem[0], 7, 2), BasicConv(stem[0], stem[1], 1)
        self.conv3, inside = BasicConv(stem[1], stem[2], 3), stem[2]
        self.order: list[str | None] = []
        for module in modules:
            self.order.append(module and f"inception{module[0]}")
            if module:
                setattr(self, f"inception{module[0]}", Inception(inside, module[1]))
                widths = module[1]
                inside = widths[0] + widths[2] + widths[4] + widths[5]
        self.fc = nn.Linear(inside, classes)
        self.aux1 = nn.Linear(3, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(self.conv1(x), 3, 2, ceil_mode=True)
        x = functional.max_pool2d(self.conv3(self.conv2(x)), 3, 2, ceil_mode=True)
        side = 3
        for name in self.order:
            if name is None:
                x, side = functional.max_pool2d(x, side, 2, ceil_mode=True), 2
            else:
                x = getattr(self, name)(x)
        return self.fc(x.mean((2, 3)))


class ConvNeXtBlock(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.conv_dw = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})
        self.gamma = nn.Parameter(torch.linspace(0.5, 1.5, width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv_dw(x).permute(0, 2, 3, 1))
        y = self.gamma * self.mlp["fc2"](functional.gelu(self.mlp["fc1"](y)))
        return x + y.permute(0, 3, 1, 2)


def norm_channels(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    return norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    """timm's names."""

    def __init__(self, widths, blocks, classes: int):
        super().__init__()
        self.stem = nn.ModuleList([nn.Conv2d(3, widths[0], 4, 4), nn.LayerNorm(widths[0], eps=1e-6)])
        self.stages = nn.ModuleList()
        for i, (width, count) in enumerate(zip(widths, blocks)):
            stage = nn.ModuleDict({"blocks": nn.Sequential(*(ConvNeXtBlock(width) for _ in range(count)))})
            if i:
                before = widths[i - 1]
                stage["downsample"] = nn.ModuleList([nn.LayerNorm(before, eps=1e-6), nn.Conv2d(before, width, 2, 2)])
            self.stages.append(stage)
        self.head = nn.ModuleDict({"norm": nn.LayerNorm(widths[-1], eps=1e-6), "fc": nn.Linear(widths[-1], classes)})

    def forward(self, x: Tensor) -> Tensor:
        x = norm_channels(self.stem[1], self.stem[0](x))
        for stage in self.stages:
            if "downsample" in stage:
                norm, conv = stage["downsample"]
                x = conv(norm_channels(norm, x))
            x = stage["blocks"](x)
        return self.head["fc"](self.head["norm"](x.mean((2, 3))))


class TimmAttention(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, count, width = x.shape
        q, k, v = self.qkv(x).reshape(n, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        self.attention = (q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1)).softmax(-1)
        if self.attention.requires_grad:
            self.attention.retain_grad()
        return self.proj((self.attention @ v).transpose(1, 2).reshape(n, count, width))


class TimmBlock(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn = TimmAttention(width, heads)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp["fc2"](functional.gelu(self.mlp["fc1"](self.norm2(x))))


class TimmViT(nn.Module):
    def __init__(self, width: int, depth: int, heads: int, patch: int, classes: int, size):
        super().__init__()
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, patch, patch)})
        count = (size[0] // patch) * (size[1] // patch)
        self.cls_token = nn.Parameter(torch.randn(1, 1, width))
        self.pos_embed = nn.Parameter(torch.randn(1, 1 + count, width))
        self.blocks = nn.Sequential(*(TimmBlock(width, heads) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width, eps=1e-6), nn.Linear(width, classes)

    def forward(self, x: Tensor, positions: Tensor | None = None) -> Tensor:
        x = self.patch_embed["proj"](x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1)
        x = self.blocks(x + (self.pos_embed if positions is None else positions))
        return self.head(self.norm(x)[:, 0])


class EncoderLayer(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.self_attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(), nn.Linear(4 * width, width), nn.Dropout()
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.ln_1(x)
        x = x + self.self_attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class TorchvisionViT(nn.Module):
    def __init__(self, width: int, depth: int, heads: int, patch: int, classes: int, size):
        super().__init__()
        self.conv_proj = nn.Conv2d(3, width, patch, patch)
        self.class_token = nn.Parameter(torch.randn(1, 1, width))
        count = (size[0] // patch) * (size[1] // patch)
        self.encoder = nn.Module()
        self.encoder.pos_embedding = nn.Parameter(torch.randn(1, 1 + count, width))
        self.encoder.layers = nn.Sequential()
        for i in range(depth):
            self.encoder.layers.add_module(f"encoder_layer_{i}", EncoderLayer(width, heads))
        self.encoder.ln = nn.LayerNorm(width, eps=1e-6)
        self.heads = nn.ModuleDict({"head": nn.Linear(width, classes)})

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_proj(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(len(x), -1, -1), x], 1) + self.encoder.pos_embedding
        return self.heads["head"](self.encoder.ln(self.encoder.layers(x))[:, 0])


class ZfNet(nn.Module):
    """The ONNX model zoo's zfnet512; names without their gpu_0/ and with a dot for the last underscore but one."""

    def __init__(self, widths, hidden, classes: int, pixels: int):
        super().__init__()
        inside = 3
        for i, (width, side) in enumerate(zip(widths, (7, 5, 3, 3, 3)), 1):
            strided = i < 3
            setattr(self, f"conv{i}", nn.Conv2d(inside, width, side, 2 if strided else 1, 0 if strided else 1))
            inside = width
        self.fc6, self.fc7 = nn.Linear(inside * pixels, hidden[0]), nn.Linear(*hidden)
        self.fc8 = nn.Linear(hidden[1], classes)

    def forward(self, x: Tensor) -> Tensor:
        for i in range(1, 6):
            x = torch.relu(getattr(self, f"conv{i}")(x))
            if i < 3:
                x = functional.max_pool2d(functional.local_response_norm(x, 5, 5e-4, 0.75, 2.0), 3, 2)
        x = functional.max_pool2d(x, 2, 2).flatten(1)
        return self.fc8(torch.relu(self.fc7(torch.relu(self.fc6(x)))))
