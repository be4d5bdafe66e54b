"""Channels: which layers are read, what is read of them, and that a class's channels are its gradient's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from localization.channels import READERS, layers_of, read_channels
from saliency.errors import InputError
from saliency.models.weights import ARCHITECTURES, random_network
from saliency.models.zoo.scenes_cnn import scenes_cnn


@pytest.fixture(scope="module")
def net():
    return random_network(scenes_cnn(size=(40, 56)))


def test_layers_are_the_last_narrow_ones_of_the_last_two_sizes():
    chosen = {name: layers_of(random_network(ARCHITECTURES[name]())) for name in ("squeezenet1_1", "resnet50_v1")}
    assert chosen == {"squeezenet1_1": ("fire5", "fire9"), "resnet50_v1": ("layer3_5_relu2", "layer4_2_relu2")}


def test_channels_are_the_activations_over_their_rms(net, rng):
    x = rng.normal(size=(5, 40, 56, 3)).astype(np.float32)
    found = read_channels(net, x, ("relu4_2", "relu1_1"))  # in the order of the network
    fine, coarse = (np.asarray(net.upto(x, name), float) for name in ("relu1_1", "relu4_2"))
    wide = np.zeros((28, 56))
    wide[np.arange(56) // 2, np.arange(56)] = 0.5
    tall = np.array([[max(0, min((i + 1) * 40 / 28, j + 1) - max(i * 40 / 28, j)) * 28 / 40 for j in range(40)]
                     for i in range(28)])  # fmt: skip
    for own, expected in zip(found, (np.einsum("ih,nhwc,jw->nijc", tall, fine, wide), coarse)):
        expected = expected / np.sqrt((expected**2).mean((1, 2, 3), keepdims=True))
        np.testing.assert_allclose(own, expected, rtol=2e-3, atol=1e-3)
    assert found[0].dtype == np.float16 and [one.shape[1:3] for one in found] == [(28, 28), coarse.shape[1:3]]


def test_class_channels_are_activations_times_the_class_logits_gradient(net, rng):
    x = rng.normal(size=(3, 40, 56, 3)).astype(np.float32)
    target = np.array([4, -1, 0])
    *plain, own = read_channels(net, x, target=target)
    for one, other in zip(plain, read_channels(net, x)):
        np.testing.assert_allclose(one, other, rtol=2e-3, atol=1e-3)
    activation = net.upto(x, "relu4_2")
    classes = np.where(target < 0, np.asarray(net(x)).argmax(1), target)
    gradient = jax.grad(lambda a: net.after(a, "relu4_2")[jnp.arange(3), classes].sum())(activation)
    expected = np.asarray(gradient * activation, float)
    expected /= np.sqrt((expected**2).mean((1, 2, 3), keepdims=True))
    np.testing.assert_allclose(own, expected, rtol=1e-2, atol=5e-3)
    # summed over channels it is HiResCAM, whose total is the logit where a head is linear
    assert not np.allclose(own[0], read_channels(net, x, target=np.array([5, -1, 0]))[-1][0], atol=1e-2)


def test_what_is_read_does_not_hang_on_other_photos(net, rng):
    x = rng.normal(size=(5, 40, 56, 3)).astype(np.float32)
    for one, whole in zip(read_channels(net, x[3:4]), read_channels(net, x)):
        np.testing.assert_allclose(one[0], whole[3], rtol=2e-3, atol=1e-3)
    assert [len(one) for one in read_channels(net, x[:0])] == [0, 0]


def test_a_layer_without_places_is_refused(net, rng):
    x = rng.normal(size=(1, 40, 56, 3)).astype(np.float32)
    with pytest.raises(InputError, match="channels are of layers with height and width, which logits"):
        read_channels(net, x, (net.architecture.last,))
    with pytest.raises(InputError, match="has no layer 'relu9'"):
        read_channels(net, x, ("relu9",))


def test_every_reader_says_that_it_is_no_explanation():
    assert all("no explanation" in reader.summary and reader.summary.count("\n") == 1 for reader in READERS.values())
