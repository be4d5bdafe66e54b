"""The operators that a classifier is made of: one a class, each of which knows itself."""

from saliency.models.operators.base import Operator, Sliding, stays_local
from saliency.models.operators.linear import Conv, Dense
from saliency.models.operators.normal import Gelu, LayerNorm, Scale
from saliency.models.operators.pointwise import Add, Concat, Flatten, Image, LocalResponseNorm, Relu
from saliency.models.operators.pool import (
    NO_PADDING,
    AvgPool,
    GlobalAvgPool,
    GlobalMaxPool,
    GlobalSumPool,
    MaxPool,
    Pad,
    Slice,
    SumPool,
    output_size,
)
from saliency.models.operators.regions import Interval, Parameters, Range, Region, Shape, is_map
from saliency.models.operators.tokens import Attention, Mix, Token, Tokens

__all__ = [
    "NO_PADDING",
    "Add",
    "Attention",
    "AvgPool",
    "Concat",
    "Conv",
    "Dense",
    "Flatten",
    "Gelu",
    "GlobalAvgPool",
    "GlobalMaxPool",
    "GlobalSumPool",
    "Image",
    "Interval",
    "LayerNorm",
    "LocalResponseNorm",
    "MaxPool",
    "Mix",
    "Operator",
    "Pad",
    "Parameters",
    "Range",
    "Region",
    "Relu",
    "Scale",
    "Shape",
    "Slice",
    "Sliding",
    "SumPool",
    "Token",
    "Tokens",
    "is_map",
    "output_size",
    "stays_local",
]
