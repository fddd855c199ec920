"""Every setting of an experiment, with its one default.

A field declared with `how` does not change what comes out (mesh, memory, saving, logging) and stays out of the keys
of phases; every other field is hashed.
"""

from typing import Annotated, Literal

from pydantic import Field, create_model

from xlmr_flax.config.architecture import Architecture
from xlmr_flax.config.settings import Settings, how, later
from xlmr_flax.config.world import WorldSettings

# The fields of Hugging Face's config.json, none of them required: what a model from scratch changes in its preset.
Shape = create_model(
    "Shape",
    __base__=Settings,
    **{
        name: (field.annotation | None, Field(None, json_schema_extra=field.json_schema_extra))
        for name, field in Architecture.model_fields.items()
    },
)


class Model(Settings):
    """Where the encoder comes from: pretrained weights, or a preset with random ones."""

    weights: str | None = None  # a folder, or a hub id; None: from scratch
    revision: str | None = None  # of the hub id
    preset: Literal["tiny", "mini", "base", "large", "xl", "xxl"] | None = None
    architecture: Shape = Shape()  # changes to the preset; with weights: dropout only
    compute: Literal["bfloat16", "float32"] = "bfloat16"  # parameters, softmax, LayerNorm and loss stay float32
    # What the backward pass computes again, to keep less: nothing, all but matrix products, or each layer whole.
    remat: Literal["none", "elementwise", "layers"] = how("none")
    # One program for all layers compiles soonest, one each runs soonest; None: scanned on CPUs, and nowhere else.
    scan_layers: bool | None = how(None)


class Tokenizer(Settings):
    """A folder or hub id, or a Unigram model to be trained on the experiment's text; neither: that of the weights."""

    path: str | None = None
    vocab_size: int | None = Field(None, gt=8)


class TextFiles(Settings):
    """Plain text, for masked LM and for training a tokenizer."""

    files: tuple[str, ...] = ()  # patterns under the data folder, one text a line
    tasks: tuple[str, ...] = ()  # and every text of these tasks' files, all splits and languages that are there


class Mesh(Settings):
    """Devices by axis; `data` takes what the others leave."""

    data: int | None = how(None, gt=0)
    fsdp: int = how(1, gt=0)
    tensor: int = how(1, gt=0)
    # Weights are gathered over fsdp again in the backward pass, a layer at a time, and not kept from the first pass on.
    reshard_after_forward: bool = how(False)


class Optim(Settings):
    """AdamW with linear warm-up and linear decay to zero."""

    peak_lr: float = Field(2e-5, gt=0)
    warmup_frac: float = Field(0.1, ge=0, lt=1)  # of the phase's steps
    weight_decay: float = Field(0.01, ge=0)  # kernels and embeddings only; see optimizer.decays
    b1: float = Field(0.9, ge=0, lt=1)
    b2: float = Field(0.999, ge=0, lt=1)
    eps: float = Field(1e-8, gt=0)
    clip_norm: float | None = Field(1.0, gt=0)  # None: no clipping


ALL_LANGS = "all_langs"  # whose selection it was, in the names of what it leaves


class Selection(Settings):
    """Which checkpoint a phase hands over: the best on a split that no table scores."""

    every_steps: int = Field(gt=0)
    metric: str | None = None  # None: the task's headline metric
    patience: int | None = Field(None, gt=0)  # evaluations without a better score before the phase ends
    max_examples: int | None = Field(None, gt=0)  # the first of the split, in each language
    # The mean over these counts; None: those of the phase, English unless it says otherwise; all: that the split has.
    langs: tuple[str, ...] | Literal["all"] | None = later(None, min_length=1)
    # The weights that all languages would have chosen are kept and scored too; none where the split has no others.
    also: Literal["all_langs"] | None = later(None)


class Average(Settings):
    """The mean of a phase's last checkpoints, which it hands over instead of one."""

    checkpoints: int = Field(gt=1)  # that of the last step is one of them
    every_steps: int = Field(gt=0)


class Save(Settings):
    """When a running phase is saved."""

    every_steps: int = how(1000, gt=0)
    # What stays while the phase runs: the newest checkpoints, the best one, and one every so many steps. A phase that
    # is done keeps its selected weights.
    keep: int = how(2, gt=0)
    keep_every_steps: int | None = how(None, gt=0)  # those of the saved steps that it divides


class MixtureTask(Settings):
    """Where a task of a mixture departs from its phase."""

    task: str
    length: int | None = Field(None, gt=0)  # None: the phase's
    batch_size: int | None = Field(None, gt=0)


Weight = Annotated[float, Field(gt=0)]


class Mixture(Settings):
    """How often each of a phase's tasks is trained on: every step is one task's, drawn from the seed."""

    # Shares of the steps: by the number of examples e taken of each task, min(e, cap), e^(1/temperature), all alike,
    # or as `weights` say.
    sampling: Literal["proportional", "capped", "temperature", "uniform", "weights"] = "proportional"
    cap: int = Field(2**17, gt=0)
    temperature: float | None = Field(None, gt=0)
    weights: tuple[Weight, ...] | None = None  # in the order of the tasks
    mlm_frac: float | None = Field(None, gt=0, lt=1)  # share of masked LM, where it is among the tasks
    each: tuple[MixtureTask, ...] = ()


class Robust(Settings):
    """Training on inputs that are not quite those of the files; heads that give no answer to a text train as ever."""

    # On the vectors of words: `noise_scale` is its standard deviation, or half its width. The loss is that of the moved
    # inputs, and with `consistency` that weight times the symmetric KL divergence from what is said of the clean ones.
    noise: Literal["gaussian", "uniform"] | None = None
    noise_scale: float | None = Field(None, gt=0)
    consistency: float = Field(0.0, ge=0)
    # Words become translations: a folder, or one below the data folder, with files such as en-de.txt; this share of the
    # words that are in it, in every epoch others.
    dictionary: str | None = None
    switch_rate: float | None = Field(None, gt=0, le=1)
    switch_to: tuple[str, ...] | None = Field(None, min_length=1)  # these languages only; None: all that are there


class Phase(Settings):
    """One training run: an encoder goes in, and a trained one comes out."""

    name: str = Field(pattern=r"^[A-Za-z0-9_]+$")
    tasks: tuple[str, ...] = Field(min_length=1)  # of several each has a head of its own
    mixture: Mixture = later(Mixture())  # of several tasks
    langs: tuple[str, ...] | None = later(None, min_length=1)  # rows of all of them; None: each task's own language
    # Its own, where the experiment's is varied and this phase is to be the same for all; None: the experiment's.
    seed: int | None = later(None, ge=0, lt=2**31)
    parent: str | None = None  # the phase whose encoder it starts from; None: the model's
    keep_head: bool = False  # take the parent's head as well; it must have the same kind and labels
    length: int = Field(gt=0)  # tokens
    batch_size: int = Field(gt=0)  # examples a step (windows for span questions), over all devices
    epochs: float | None = Field(None, gt=0)  # of several tasks: as many steps as each of them alone would take
    steps: int | None = Field(None, gt=0)
    # Of each task; the larger subset holds the smaller, and classes have the shares that they have in the whole.
    max_examples: int | None = Field(None, gt=0)
    subset_seed: int | None = later(
        None, ge=0, lt=2**31
    )  # which examples; None: the experiment's seed, as for their order
    mask_rate: float = Field(0.15, gt=0, lt=1)  # masked LM: share of tokens to predict
    similarity: Literal["cosine", "dot"] = later("cosine")  # dual heads: of a query's vector and a document's
    scale: float | None = later(None, gt=0)  # dual heads: times the similarity; None: 100, of dot products 1
    optim: Optim = Optim()
    robust: Robust = later(Robust())
    selection: Selection | None = None  # None: the last step
    average: Average | None = later(None)  # instead of selection
    # Fresh weights are drawn from this seed, so that runs with several seeds have a mean; None: from the phase's.
    init_seed: int | None = later(None, ge=0, lt=2**31)
    accumulation: int = how(1, gt=0)  # micro-batches a step
    packing: bool = how(True)  # several short examples share a row; nothing but speed and memory depends on it
    # A step whose loss or gradients are not finite is not applied; after so many in a row the phase stops. No result
    # depends on it: it decides whether there is one.
    max_skipped_steps: int = how(10, gt=0)
    # How often training starts again with another seed where it learnt nothing: its loss never fell, the selected score
    # is at chance, or it stopped because of skipped steps. Never by a score of a table.
    retries: int = later(0, ge=0)


Layer = Annotated[int, Field(ge=0)]
Strength = Annotated[float, Field(gt=0, le=1)]


class Perturb(Settings):
    """Inputs made worse: an evaluation scores them at every strength of every kind, and the clean ones too."""

    kinds: tuple[Literal["typos", "diacritics", "code_switch"], ...] = Field(min_length=1)
    # Of the letters (typos), of those with diacritics, or of the words that the dictionary has: the share that is hit.
    strengths: tuple[Strength, ...] = Field((0.05, 0.1, 0.2), min_length=1)
    dictionary: str | None = None  # code_switch: a folder, or one below the data folder, with files such as de-en.txt
    switch_to: tuple[str, ...] | None = Field(None, min_length=1)  # these languages only; None: all that are there
    seed: int = Field(0, ge=0, lt=2**31)  # not the experiment's: models of all seeds meet the same inputs


class Evaluation(Settings):
    """Zero-shot scores of a phase's model; retrieval needs no target training."""

    phase: str
    tasks: tuple[str, ...] = Field(min_length=1)
    langs: tuple[str, ...] | None = Field(None, min_length=1)  # None: all of the task's
    length: int | None = Field(None, gt=0)  # None: that of the phase
    # Retrieval only, where every layer goes with every pooling, and the first of each stands for all.
    poolings: tuple[Literal["mean", "cls"], ...] = Field(("mean",), min_length=1)
    layers: tuple[Layer, ...] | Literal["all"] | None = Field(None, min_length=1)  # hidden_states; None: the middle one
    perturb: Perturb | None = later(None)  # None: clean inputs only
    batch_size: int = how(64, gt=0)  # rows, which packed hold more
    packing: bool = how(True)


class Splits(Settings):
    """Where this experiment departs from a task's declared splits: "split" or a slice of one, "dev[:90%]"."""

    task: str
    train: str | None = None
    select: str | None = None
    test: str | None = None


class RunAverage(Settings):
    """The mean of a phase's weights, heads included, over runs with several seeds; evaluations name it as a phase."""

    name: str = Field(pattern=r"^[A-Za-z0-9_]+$")
    phase: str
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**31)], ...] = Field(min_length=2)  # all start from the same parent


class Arm(Settings):
    """One column of the comparison: the experiment without some of its phases."""

    name: str
    skip: tuple[str, ...] = ()  # a skipped phase's children take its parent
    # Of those skipped: for whose number of steps their children train longer, the control with as many updates.
    updates: tuple[str, ...] = later(())


class Experiment(Settings):
    """One TOML file."""

    name: str = Field(pattern=r"^[A-Za-z0-9_]+$")
    seed: int = Field(0, ge=0, lt=2**31)
    recipe: str | None = None  # configs/recipes/<recipe>.toml: settings by task and role, beneath this file's
    note: str | None = how(None)  # printed under the table
    model: Model = Model()
    tokenizer: Tokenizer = Tokenizer()
    world: WorldSettings | None = None  # data from a generated world instead of the data folder
    text: TextFiles = TextFiles()
    splits: tuple[Splits, ...] = ()
    mesh: Mesh = how(Mesh())
    save: Save = how(Save())
    phases: tuple[Phase, ...] = Field(min_length=1)
    averages: tuple[RunAverage, ...] = later(())
    evaluations: tuple[Evaluation, ...] = ()
    arms: tuple[Arm, ...] = (Arm(name="main"),)
