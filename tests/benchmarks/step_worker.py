"""Takes training steps when told to by a line on standard input: ours, or PyTorch's of the same model and examples.

python step_worker.py ours|torch: it answers `padded N` or `packed N` (ours alone) with the seconds of each of N steps.
"""

import json
import sys
import time

import numpy as np

SHAPE = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 6, "intermediate_size": 1536}
WORDS, LENGTH, BATCH, CLASSES, EXAMPLES = 32_000, 128, 32, 3, 20_000
PEAK_LR, DECAY, CLIP_NORM, STEPS = 1e-5, 0.01, 1.0, 1000
HELD = 8  # batches that are made before anything is measured, and used again and again


def batches(*, packed):
    """Random words in units as long as those of XNLI's English: log-normal, mean 42, 95th percentile 80."""
    from xlmr_flax.data.batch import Batch
    from xlmr_flax.data.batches import TrainingBatches
    from xlmr_flax.data.encoded import joined
    from xlmr_flax.data.examples import Examples

    random = np.random.default_rng(0)
    drawn = np.exp(np.log(38) + 0.45 * random.standard_normal(EXAMPLES))
    sizes = np.clip(np.rint(drawn), 8, LENGTH).astype(int)
    units = [random.integers(5, WORDS, size, np.int32) for size in sizes]
    label = random.integers(0, CLASSES, EXAMPLES).astype(np.int32)
    examples = Examples("sequence", joined(units, range(EXAMPLES), {}, label), LENGTH, 1)
    made = TrainingBatches(
        examples,
        np.arange(EXAMPLES),
        batch_size=BATCH,
        micro_batches=1,
        seed=0,
        packed_over=1 if packed else None,
    )
    if packed:
        return [made(step) for step in range(HELD)]
    # Every row of the full length, as PyTorch's; by itself ours would take the shortest that the batch fits in.
    whole = [examples.batch(made.items(step), length=LENGTH) for step in range(HELD)]
    return [Batch(*(type(part)(*(array[None] for array in part)) for part in batch[:2])) for batch in whole]


def ours():
    """Our step as the command line runs it on a CPU."""
    import jax

    from xlmr_flax.config.architecture import Architecture
    from xlmr_flax.config.schema import Mesh, Optim
    from xlmr_flax.execute.devices import prepare_cpu
    from xlmr_flax.model.heads import HeadSpec
    from xlmr_flax.train.exchanges import make_model
    from xlmr_flax.train.sharding import make_mesh
    from xlmr_flax.train.state import initial_params, initial_state, place_batch, place_course
    from xlmr_flax.train.step import make_train_step

    prepare_cpu(Mesh())
    mesh, optim = make_mesh(Mesh()), Optim(peak_lr=PEAK_LR, weight_decay=DECAY, clip_norm=CLIP_NORM)
    arch = Architecture(vocab_size=WORDS, **SHAPE)
    model = make_model(arch, HeadSpec("sequence", CLASSES), compute="float32", remat="none", mesh=mesh)
    params = initial_params(model, mesh, key=jax.random.key(0))
    state = initial_state(model, optim, mesh, params)
    step, course = make_train_step(model, optim, mesh), place_course(optim, mesh, seed=0, steps=STEPS)
    hosts = {name: batches(packed=name == "packed") for name in ("padded", "packed")}

    def take(name, number):
        nonlocal state
        state, outcome = step(state, place_batch(hosts[name][number % HELD], mesh, lead=1), course)
        jax.block_until_ready((state, outcome))

    return take


def torch():
    """What a careful user of PyTorch writes: transformers' model with its default attention, and the fused AdamW."""
    import torch
    import transformers

    config = transformers.XLMRobertaConfig(
        vocab_size=WORDS, max_position_embeddings=514, type_vocab_size=1, num_labels=CLASSES, **SHAPE
    )
    model = transformers.XLMRobertaForSequenceClassification(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_LR, weight_decay=DECAY, fused=True)
    hosts = []
    for batch in batches(packed=False):
        arrays = (batch.tokens.ids_BL[0], batch.tokens.unit_BL[0] >= 0, batch.target.label_BS[0, :, 0])
        hosts.append([torch.from_numpy(array.astype(np.int64)) for array in arrays])

    def take(name, number):
        assert name == "padded", f"PyTorch's rows are not {name}"
        ids, mask, labels = hosts[number % HELD]
        model(input_ids=ids, attention_mask=mask, labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
        optimizer.step()
        optimizer.zero_grad()

    return take


def main(engine):
    take, taken = {"ours": ours, "torch": torch}[engine](), 0
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        name, count = line.split()
        seconds = []
        for _ in range(int(count)):
            began = time.perf_counter()
            take(name, taken)
            seconds.append(time.perf_counter() - began)
            taken += 1
        print(json.dumps(seconds), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
