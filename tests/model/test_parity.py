"""Against transformers' PyTorch classes: same weights, same rows, same numbers."""

import importlib
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from xlmr_flax.config.architecture import PRESETS, XLMR_VOCABULARY, Architecture
from xlmr_flax.data import batch
from xlmr_flax.model.build import Model, build
from xlmr_flax.model.export import class_name, export, state_dict
from xlmr_flax.model.heads import HeadSpec
from xlmr_flax.model.hub import FAMILIES, architecture
from xlmr_flax.model.weights import PREFIX, encoder_rows, flat, head_rows, leaves, load, names, their_shape

pytestmark = pytest.mark.parity

TINY = Architecture(vocab_size=150, **PRESETS["tiny"])
TINY_XL = Architecture(vocab_size=150, **PRESETS["tiny"], pre_norm=True)
ARCHITECTURES = {
    "tiny": TINY,
    "wide": Architecture(
        vocab_size=257, hidden_size=96, num_hidden_layers=4, num_attention_heads=6, intermediate_size=160,
        max_position_embeddings=70, initializer_range=0.08,
    ),
    "one_head": Architecture(
        vocab_size=128, hidden_size=40, num_hidden_layers=1, num_attention_heads=1, intermediate_size=24,
        max_position_embeddings=40, initializer_range=0.2,
    ),
    "xl": TINY_XL,
    "xl_wide": Architecture(
        vocab_size=200, hidden_size=96, num_hidden_layers=4, num_attention_heads=6, intermediate_size=160,
        max_position_embeddings=40, initializer_range=0.08, pre_norm=True,
    ),
}  # fmt: skip
FAMILY = {"xlm-r": TINY, "xlm-r xl": TINY_XL}
FIELDS = {
    "layer_norm_eps": 0.3,
    "hidden_act": "relu",
    "type_vocab_size": 3,
    "pad_token_id": 5,
    "max_position_embeddings": 33,
    "intermediate_size": 20,
    "num_attention_heads": 4,
    "num_hidden_layers": 3,
    "hidden_size": 48,
    "vocab_size": 200,
}
SIZES = {"sequence": 3, "choice": 3, "token": 5, "span": 0, "mlm": 0}
LENGTHS = {"padded": (12, 7, 3, 9, 12, 2), "unpadded": (12,) * 6}


@pytest.fixture(scope="module")
def torch() -> Any:
    return importlib.import_module("torch")


class Case:
    """One architecture and head on both sides, with equal weights, and rows with labels."""

    def __init__(self, arch: Architecture, kind: str, lengths: tuple[int, ...], seed: int = 0) -> None:
        import torch
        import transformers

        self.arch, self.kind, self.torch = arch, kind, torch
        self.spec = HeadSpec(kind, SIZES[kind])
        torch.manual_seed(seed)
        config = getattr(transformers, f"{FAMILIES[arch.pre_norm].classes}Config")(
            **arch.model_dump(exclude={"pre_norm"}),
            num_labels=self.spec.size if kind in ("sequence", "token") else 2,
            attn_implementation="eager",
        )
        theirs = getattr(transformers, class_name(arch, kind))(config)
        with torch.no_grad():  # biases and scales that are not 0 and 1, so that a lost one shows
            for weights in theirs.parameters():
                weights += 0.05 * torch.randn_like(weights) * (weights.ndim == 1)
        self.theirs = theirs.eval()
        self.model: Model = build(arch, self.spec, "float32")
        with tempfile.TemporaryDirectory() as folder:
            self.theirs.save_pretrained(folder)
            assert architecture(Path(folder)) == arch
            self.loaded = load(Path(folder), self.model, jax.random.key(0), head=True)
        self.params = jax.tree.map(jnp.asarray, self.loaded.params)
        self._draw_rows(lengths)

    def _draw_rows(self, lengths: tuple[int, ...]) -> None:
        random, B, L = np.random.default_rng(1), len(lengths), max(lengths)
        real = np.arange(L)[None] < np.array(lengths)[:, None]
        ids = random.integers(6, self.arch.vocab_size, (B, L))
        ids[:, 0] = 0
        self.ids, self.real = np.where(real, ids, self.arch.pad_token_id), real
        unit, position = np.where(real, np.arange(B)[:, None], -1), np.where(real, np.arange(L)[None], 0)
        self.tokens = batch.Tokens(*(jnp.asarray(a, jnp.int32) for a in (self.ids, unit, position)))
        first, one = jnp.zeros((B, 1), jnp.int32), jnp.ones((B, 1))
        label = random.integers(0, max(self.spec.size, 1), (B, L))
        last = np.array(lengths) - 1
        start, end = last // 2, last
        masked = np.stack([random.permutation(n)[:2] for n in lengths])
        words = random.integers(6, self.arch.vocab_size, masked.shape)
        words[1, 1] = batch.IGNORED
        self.labels: dict[str, Any]
        if self.kind == "sequence":
            self.target, self.labels = batch.SequenceTarget(first, ints(label[:, :1]), one), {"labels": label[:, 0]}
        elif self.kind == "choice":
            right = label[: B // self.spec.size, 0]
            place = jnp.arange(B).reshape(-1, self.spec.size)
            self.target = batch.ChoiceTarget(first, place, ints(right), jnp.ones(len(right)))
            self.labels = {"labels": right}
        elif self.kind == "token":
            label = np.where(real & (random.random(real.shape) < 0.7), label, batch.IGNORED)
            self.target, self.labels = batch.TokenTarget(ints(label)), {"labels": label}
        elif self.kind == "span":
            self.target = batch.SpanTarget(first, ints(start[:, None]), ints(end[:, None]), one)
            self.labels = {"start_positions": start, "end_positions": end}
        else:
            self.target = batch.MaskedTarget(ints(masked), ints(words))
            label = np.full((B, L), batch.IGNORED)
            np.put_along_axis(label, masked, words, axis=1)
            self.labels = {"labels": label}

    def run_theirs(self, model: Any = None, *, labels: bool = True) -> Any:
        shape = (-1, self.spec.size, self.ids.shape[1]) if self.kind == "choice" else self.ids.shape
        given = {"input_ids": self.ids.reshape(shape), "attention_mask": self.real.astype(np.int64).reshape(shape)}
        given |= self.labels if labels else {}
        given = {name: self.torch.from_numpy(value.astype(np.int64)) for name, value in given.items()}
        return (model or self.theirs)(**given, output_hidden_states=True)

    def logits_of(self, out: Any) -> np.ndarray:
        """Theirs in the shape of `our_logits`."""
        if self.kind == "span":
            stacked = np.stack([out.start_logits.detach().numpy(), out.end_logits.detach().numpy()])
            return np.where(self.real[None], stacked, 0)
        logits = out.logits.detach().numpy()
        if self.kind == "mlm":
            return np.take_along_axis(logits, np.asarray(self.target.masked_BG)[..., None], axis=1)
        return np.where(self.real[..., None], logits, 0) if self.kind == "token" else logits

    def our_logits(self, params: Any) -> np.ndarray:
        logits = jax.jit(self.model.apply)(params, self.tokens, self.target, None)
        if self.kind == "span":
            return np.where(self.real[None], np.stack([x_BSL[:, 0] for x_BSL in logits]), 0)
        if self.kind == "sequence":
            return np.asarray(logits[:, 0])
        if self.kind == "mlm":
            return np.asarray(logits.logits()[..., : self.arch.vocab_size])
        return np.where(self.real[..., None], logits, 0) if self.kind == "token" else np.asarray(logits)

    def mean_loss(self, params: Any) -> jax.Array:
        tally = self.model.loss(params, batch.Batch(self.tokens, self.target), None)
        return tally.total / tally.count


def ints(x: np.ndarray) -> jax.Array:
    return jnp.asarray(x, jnp.int32)


def difference(ours: np.ndarray, theirs: np.ndarray, record: Any, what: str) -> float:
    assert ours.shape == theirs.shape
    found = float(np.abs(ours - theirs).max())
    record(what, found)
    print(f"{what}: {found:.2e}")
    return found


def relative(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference over the largest entry."""
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def without_gradient(name: str, arch: Architecture, kind: str) -> bool:
    """A softmax does not feel what is added to all of its inputs: these gradients are 0 but for rounding."""
    last_norm = "LayerNorm.bias" if arch.pre_norm else f"layer.{arch.num_hidden_layers - 1}.output.LayerNorm.bias"
    idle = {"span": ("qa_outputs.bias", f"roberta.encoder.{last_norm}"), "choice": ("classifier.bias",)}
    return name.endswith("key.bias") or name in idle.get(kind, ())


@pytest.mark.parametrize("preset", ["base", "large", "xl", "xxl"])
def test_a_preset_has_their_names_and_shapes_to_the_last_tensor(preset, torch):
    """Whole models, of which neither side makes a number."""
    import transformers

    rows = 250_880 if preset in ("xl", "xxl") else XLMR_VOCABULARY
    arch = Architecture(vocab_size=rows, **PRESETS[preset])
    config = getattr(transformers, f"{FAMILIES[arch.pre_norm].classes}Config")(**arch.model_dump(exclude={"pre_norm"}))
    with torch.device("meta"):
        theirs = getattr(transformers, class_name(arch, "mlm"))(config)
    shapes = dict(flat(jax.eval_shape(build(arch, HeadSpec("mlm"), "bfloat16").init_params, jax.random.key(0))))
    ours = {}
    for leaf in leaves(encoder_rows(arch) + head_rows("mlm")):
        shape = shapes[leaf.path].shape[1:] if "{}" in leaf.name else shapes[leaf.path].shape
        ours |= dict.fromkeys(names(leaf, arch), their_shape(leaf, shape, arch))
    whole = {name.removeprefix(PREFIX): tuple(each.shape) for name, each in theirs.state_dict().items()}
    assert whole.pop("lm_head.decoder.weight") == ours["embeddings.word_embeddings.weight"]
    assert whole.pop("lm_head.decoder.bias") == ours["lm_head.bias"]
    assert ours == whole


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("arch", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_every_hidden_layer_is_theirs(arch, lengths, record_property):
    case = Case(arch, "mlm", lengths)
    theirs = np.stack([x.detach().numpy() for x in case.run_theirs().hidden_states])
    ours = np.asarray(jax.jit(case.model.hidden_states)(case.params, case.tokens))
    real = case.real[None, ..., None]
    assert difference(np.where(real, ours, 0), np.where(real, theirs, 0), record_property, "hidden") < 1e-4


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("arch", ARCHITECTURES.values(), ids=ARCHITECTURES)
@pytest.mark.parametrize("kind", SIZES)
def test_every_logit_and_the_loss_are_theirs(kind, arch, lengths, record_property):
    case = Case(arch, kind, lengths)
    assert case.loaded.fresh == ()
    out = case.run_theirs()
    assert difference(case.our_logits(case.params), case.logits_of(out), record_property, "logits") < 1e-4
    if kind != "span" or lengths == LENGTHS["unpadded"]:  # theirs lets padding compete in the softmax, ours does not
        loss = np.asarray(jax.jit(case.mean_loss)(case.params))
        assert difference(loss, out.loss.detach().numpy(), record_property, "loss") < 1e-4


@pytest.mark.parametrize("arch", FAMILY.values(), ids=FAMILY)
def test_the_pooled_embedding_is_theirs(arch, torch, record_property):
    import transformers

    case = Case(arch, "mlm", LENGTHS["padded"])
    bare = getattr(transformers, class_name(arch, "embedding"))
    theirs = bare(case.theirs.config, add_pooling_layer=False).eval()
    theirs.load_state_dict(case.theirs.roberta.state_dict())
    case.kind = "embedding"
    hidden = case.run_theirs(theirs, labels=False).hidden_states
    mask = torch.from_numpy(case.real)[..., None]
    means = [((x * mask).sum(1) / mask.sum(1)).detach().numpy() for x in hidden]
    first_BS = jnp.zeros((len(case.ids), 1), jnp.int32)
    ours = np.asarray(case.model.embeddings(case.params, case.tokens, first_BS, ("mean",), (0, 2)))[:, 0, :, 0]
    assert difference(ours, np.stack([means[0], means[2]]), record_property, "mean") < 1e-4
    first = np.asarray(case.model.embeddings(case.params, case.tokens, first_BS, ("first",), (1,)))[:, 0, :, 0]
    assert difference(first[0], hidden[1][:, 0].detach().numpy(), record_property, "first") < 1e-4


@pytest.mark.parametrize("arch", FAMILY.values(), ids=FAMILY)
@pytest.mark.parametrize("kind", SIZES)
def test_every_gradient_is_theirs(kind, arch, record_property):
    case = Case(arch, kind, LENGTHS["unpadded"] if kind == "span" else LENGTHS["padded"])
    case.run_theirs().loss.backward()
    gradients = jax.jit(jax.grad(case.mean_loss))(case.params)
    ours = state_dict(case.arch, gradients, case.spec)
    theirs = {name: case.theirs.get_parameter(name).grad.numpy() for name in ours}
    assert len(theirs) == len(list(case.theirs.parameters()))
    idle = {name for name in theirs if without_gradient(name, arch, kind)}
    assert max(np.abs([*ours[name].flat, *theirs[name].flat]).max() for name in idle) < 1e-6
    worst = {name: relative(ours[name], theirs[name]) for name in set(theirs) - idle}
    record_property("gradient", max(worst.values()))
    print(f"gradient: {max(worst.values()):.2e} at {max(worst, key=worst.get)}")
    assert max(worst.values()) < 1e-4


@pytest.mark.parametrize("arch", FAMILY.values(), ids=FAMILY)
@pytest.mark.parametrize("kind", SIZES)
def test_ten_steps_of_adamw_lose_as_theirs(kind, arch, torch, record_property):
    case = Case(arch, kind, LENGTHS["unpadded"] if kind == "span" else LENGTHS["padded"])
    optimizer = torch.optim.AdamW(case.theirs.parameters(), lr=1e-3, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.01)
    adamw = optax.adamw(1e-3, b1=0.9, b2=0.999, eps=1e-6, weight_decay=0.01)

    @jax.jit
    def step(params: Any, state: Any) -> Any:
        loss, gradients = jax.value_and_grad(case.mean_loss)(params)
        updates, state = adamw.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, loss

    params, state, losses = case.params, adamw.init(case.params), []
    for _ in range(10):
        params, state, loss = step(params, state)
        out = case.run_theirs()
        optimizer.zero_grad()
        out.loss.backward()
        optimizer.step()
        losses.append((float(loss), float(out.loss.detach())))
    ours, theirs = np.array(losses).T
    assert ours[-1] < ours[0] - 1e-2  # something was learnt
    assert difference(ours, theirs, record_property, "losses") < 1e-3


@pytest.mark.parametrize("arch", FAMILY.values(), ids=FAMILY)
@pytest.mark.parametrize("kind", [*SIZES, "embedding"])
def test_exported_weights_load_in_transformers_and_give_our_logits(kind, arch, tmp_path, record_property):
    import transformers

    case = Case(arch, "mlm" if kind == "embedding" else kind, LENGTHS["padded"])
    spec = HeadSpec(kind, SIZES.get(kind, 0))
    labels = [f"label {i}" for i in range(spec.size)] if kind in ("sequence", "token") else []
    params = jax.tree.map(lambda leaf: 1.5 * leaf, case.params)  # not the weights that theirs were drawn with
    exported = {"encoder": params["encoder"], "head": {}} if kind == "embedding" else params
    export(tmp_path / "out", arch, exported, spec, labels=labels)
    auto = {
        "sequence": "AutoModelForSequenceClassification",
        "choice": "AutoModelForMultipleChoice",
        "token": "AutoModelForTokenClassification",
        "span": "AutoModelForQuestionAnswering",
        "mlm": "AutoModelForMaskedLM",
        "embedding": "AutoModel",
    }[kind]
    theirs, info = getattr(transformers, auto).from_pretrained(tmp_path / "out", output_loading_info=True)
    assert type(theirs).__name__ == class_name(arch, kind)
    # transformers' bare model always has a pooler, which an encoder of ours has no weights for
    assert set(info["missing_keys"]) == ({"pooler.dense.weight", "pooler.dense.bias"} if kind == "embedding" else set())
    assert not info["unexpected_keys"]
    assert not info["mismatched_keys"]
    if labels:
        assert theirs.config.id2label == dict(enumerate(labels))
    if kind == "embedding":
        case.kind = kind
        hidden = np.stack([x.detach().numpy() for x in case.run_theirs(theirs.eval(), labels=False).hidden_states])
        ours, real = np.asarray(case.model.hidden_states(params, case.tokens)), case.real[None, ..., None]
        assert difference(np.where(real, ours, 0), np.where(real, hidden, 0), record_property, "hidden") < 1e-4
        return
    logits = case.logits_of(case.run_theirs(theirs.eval()))
    assert difference(case.our_logits(params), logits, record_property, "logits") < 1e-4


@pytest.mark.parametrize("arch", FAMILY.values(), ids=FAMILY)
@pytest.mark.parametrize(("field", "value"), FIELDS.items(), ids=FIELDS)
def test_each_field_of_the_architecture_means_what_theirs_means(field, value, arch, record_property):
    assert value != getattr(arch, field)
    case = Case(Architecture(**{**arch.model_dump(), field: value}), "mlm", LENGTHS["padded"])
    assert difference(case.our_logits(case.params), case.logits_of(case.run_theirs()), record_property, "logits") < 1e-4


@pytest.mark.parametrize("act", ["gelu_new", "silu"])
def test_each_activation_is_theirs(act, record_property):
    case = Case(Architecture(**{**TINY.model_dump(), "hidden_act": act}), "mlm", LENGTHS["padded"])
    assert difference(case.our_logits(case.params), case.logits_of(case.run_theirs()), record_property, "logits") < 1e-4


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("half", [False, True], ids=["float32", "float16"])
def test_files_that_torch_saves_are_read_as_safetensors_are(legacy, half, torch, tmp_path):
    case = Case(TINY, "mlm", LENGTHS["padded"])
    weights = case.theirs.state_dict()
    if half:
        weights = type(weights)((name, tensor.half()) for name, tensor in weights.items())
    case.theirs.config.save_pretrained(tmp_path)
    torch.save(weights, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=not legacy)
    read = load(tmp_path, case.model, jax.random.key(0))
    expected = (
        jax.tree.map(lambda x: np.asarray(x, np.float16).astype(np.float32), case.params) if half else case.params
    )
    jax.tree.map(np.testing.assert_array_equal, read.params, expected)


def test_views_of_one_storage_are_read_as_torch_reads_them(torch, tmp_path):
    from xlmr_flax.model.unpickle import read_bin

    whole = torch.arange(24.0).reshape(4, 6)
    saved = {"whole": whole, "turned": whole.T, "part": whole[1:3, 2:5], "last": whole[-1], "none": whole[:0]}
    torch.save(saved, tmp_path / "x.bin")
    read = read_bin(tmp_path / "x.bin")
    assert read.keys() == saved.keys()
    for name, tensor in saved.items():
        np.testing.assert_array_equal(read[name].read(), tensor.numpy())
