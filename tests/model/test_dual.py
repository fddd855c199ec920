"""The dual head: a softmax over the documents of all items, in which no right answer counts as a wrong one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlmr_flax.data.batch import Batch, DualTarget, Tokens
from xlmr_flax.errors import InputError
from xlmr_flax.model.build import build
from xlmr_flax.model.heads import DualHead, HeadSpec

E, D = 5, 4


def target(document, weight=None):
    document, weight = np.array(document, np.int32), np.ones(len(document)) if weight is None else weight
    first, place = jnp.zeros((2 * len(document), 1), jnp.int32), jnp.arange(2 * len(document)).reshape(-1, 2)
    return DualTarget(first, place, jnp.array(document), jnp.array(weight, jnp.float32))


def vectors(seed):
    return np.random.default_rng(seed).standard_normal((E, 2, D)).astype(np.float32)


def by_hand(vectors, document, weight):
    """-log softmax of each real query's own document among the real documents that are not the same one."""
    total = 0.0
    for i in range(len(vectors)):
        if weight[i]:
            wrong = [j for j in range(len(vectors)) if weight[j] and document[j] != document[i]]
            scores = np.array([vectors[i, 0].astype(float) @ vectors[j, 1] for j in (i, *wrong)])
            total += np.log(np.exp(scores - scores[0]).sum())
    return total


@given(
    seed=st.integers(0, 1000),
    document=st.lists(st.integers(-2, 2), min_size=E, max_size=E),
    weight=st.lists(st.sampled_from([0.0, 1.0]), min_size=E, max_size=E),
)
def test_the_loss_is_the_softmax_over_the_documents_of_other_names(seed, document, weight):
    tally = jax.jit(DualHead.loss)(vectors(seed), target(document, weight))
    np.testing.assert_allclose(tally.total, by_hand(vectors(seed), document, weight), rtol=1e-5, atol=1e-6)
    assert tally.count == sum(weight)


def test_a_document_that_stands_there_twice_neither_pushes_its_query_away_nor_is_pushed():
    gradient = jax.jit(jax.grad(lambda x: DualHead.loss(x, target([7, 8, 7, 9, 9])).total))
    one, other = vectors(0), vectors(0)
    other[2, 1] += 3  # the document of item 2 is that of item 0, as another copy of its text would be encoded
    np.testing.assert_array_equal(gradient(one)[0, 0], gradient(other)[0, 0])
    different = jax.jit(jax.grad(lambda x: DualHead.loss(x, target([7, 8, 6, 9, 9])).total))
    assert np.abs(different(one)[0, 0] - different(other)[0, 0]).max() > 1e-3


def test_an_item_of_padding_is_nobodys_wrong_answer_and_has_no_gradient():
    wanted = target([1, 2, 3, 4, 5], [1, 1, 1, 1, 0])
    gradients = jax.jit(jax.grad(lambda x: DualHead.loss(x, wanted).total))(vectors(0))
    assert not np.asarray(gradients)[4].any()
    assert np.abs(gradients[:4]).max(-1).all()


@pytest.fixture(scope="module")
def batch(units, rows):
    tokens = rows([[unit] for unit in units]).tokens
    return Batch(tokens, target([3, 4]))


def computed(arch, params, batch, **how):
    model = build(arch, HeadSpec("dual", **how), "float32")
    tree = {"encoder": params["span"]["encoder"], "head": {"pooler": params["choice"]["head"]["pooler"]}}
    return model, tree, model.apply(tree, batch.tokens, batch.target, None)


@pytest.mark.parametrize(("how", "scale"), [({"scale": 7.0}, 7.0), ({"similarity": "dot"}, 1.0)])
def test_a_vector_is_the_tanh_of_the_pooler_and_the_queries_carry_the_scale(arch, params, batch, how, scale):
    model, tree, found_E2D = computed(arch, params, batch, **how)
    x_BD = model.hidden_states(tree, batch.tokens)[-1][:, 0]
    pooler = tree["head"]["pooler"]
    wanted_BD = np.tanh(x_BD @ pooler["kernel"] + pooler["bias"][None])
    if model.spec.similarity == "cosine":
        wanted_BD = wanted_BD / np.linalg.norm(wanted_BD, axis=1, keepdims=True)
    found_BSD = model.vectors(tree, batch.tokens, batch.target.first_BS)
    np.testing.assert_allclose(found_BSD[:, 0], wanted_BD, rtol=1e-4, atol=1e-6)
    scales = np.array([scale, 1.0], np.float32)[None, :, None]
    np.testing.assert_allclose(found_E2D, wanted_BD.reshape(2, 2, -1) * scales, rtol=1e-4, atol=1e-5)


def test_a_unit_has_the_same_vector_as_query_as_document_and_alone(arch, params, batch):
    model, tree, _ = computed(arch, params, batch)
    turned, first_BS = Tokens(*(x[jnp.array([1, 0, 3, 2])] for x in batch.tokens)), batch.target.first_BS
    vectors_BSD = model.vectors(tree, batch.tokens, first_BS)
    np.testing.assert_allclose(model.vectors(tree, turned, first_BS)[jnp.array([1, 0, 3, 2])], vectors_BSD, atol=1e-6)


def test_a_scale_that_makes_no_softmax_is_refused():
    with pytest.raises(InputError, match=r"a scale of 0 makes no softmax"):
        HeadSpec("dual", scale=0)
