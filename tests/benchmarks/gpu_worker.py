"""Trains on one device with the rows that it is told, and answers how fast: ours, or transformers' PyTorch model.

python gpu_worker.py ours|torch SHAPE: SHAPE is JSON as gpu.Work has it. Each line is ROWS REMAT (REMAT: ours alone);
the answer has the seconds of each step, or null where the rows do not fit into the device's memory.
"""

import json
import sys
import time

import numpy as np

PEAK_LR, DECAY, CLIP_NORM, COURSE = 1e-5, 0.01, 1.0, 100_000
WARM, STEPS = 3, 10


def ours(work):
    """Our step, as a phase of one device takes it."""
    import jax

    from xlmr_flax.config.architecture import Architecture
    from xlmr_flax.config.schema import Mesh, Optim
    from xlmr_flax.data.batches import TrainingBatches
    from xlmr_flax.model.heads import HeadSpec
    from xlmr_flax.plan.programs import full_examples
    from xlmr_flax.train.exchanges import make_model
    from xlmr_flax.train.sharding import make_mesh
    from xlmr_flax.train.state import initial_params, initial_state, place_batch, place_course
    from xlmr_flax.train.step import make_train_step

    mesh = make_mesh(Mesh(data=1), jax.devices()[:1])
    optim = Optim(peak_lr=PEAK_LR, weight_decay=DECAY, clip_norm=CLIP_NORM)
    arch, spec = Architecture(**work["architecture"]), HeadSpec("sequence", work["classes"])

    def take(rows, remat):
        model = make_model(arch, spec, compute=work["compute"], remat=remat, mesh=mesh)
        params = initial_params(model, mesh, key=jax.random.key(0))
        state = initial_state(model, optim, mesh, params)
        del params
        examples = full_examples("sequence", items=rows, units=1, length=work["length"])
        host = TrainingBatches(examples, np.arange(rows), batch_size=rows, micro_batches=1, seed=0)(0)
        step, course = make_train_step(model, optim, mesh), place_course(optim, mesh, seed=0, steps=COURSE)

        def one():
            nonlocal state
            state, outcome = step(state, place_batch(host, mesh, lead=1), course)
            return outcome

        return timed(one, lambda outcome: float(outcome.total))

    def too_much(problem):
        return "RESOURCE_EXHAUSTED" in str(problem) or "out of memory" in str(problem).lower()

    return take, too_much, jax.devices()[0].device_kind


def torch(work):
    """transformers' model as its users tune it: sdpa, torch.compile, bfloat16 autocast, the fused AdamW."""
    import torch
    import transformers

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_float32_matmul_precision("high")
    lower = work["compute"] == "bfloat16"
    # Recompiled for each number of rows, with static shapes: the fastest that it has.
    torch._dynamo.config.automatic_dynamic_shapes = False

    def take(rows, remat):
        torch._dynamo.reset()
        torch.cuda.empty_cache()
        sizes = {name: value for name, value in work["architecture"].items() if name != "pre_norm"}
        config = transformers.XLMRobertaConfig(**sizes, num_labels=work["classes"], attn_implementation="sdpa")
        model = transformers.XLMRobertaForSequenceClassification(config).train().to(device)
        optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_LR, weight_decay=DECAY, fused=True)
        # Rows are full, and without a mask sdpa may take its fastest kernel.
        ids = torch.full((rows, work["length"]), 5, device=device)
        labels = torch.zeros(rows, dtype=torch.long, device=device)
        compiled = torch.compile(model, backend=work["backend"])

        def one():
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=lower):
                loss = compiled(input_ids=ids, labels=labels).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
            optimizer.step()
            optimizer.zero_grad()
            return loss.detach()

        return timed(one, float)

    def too_much(problem):
        return isinstance(problem, torch.OutOfMemoryError)

    return take, too_much, torch.cuda.get_device_name() if device.type == "cuda" else "cpu"


def timed(one, read):
    """Seconds of a step: of all of them together, as steps follow each other, after some that compile."""
    for _ in range(WARM):
        read(one())
    began = time.perf_counter()
    for _ in range(STEPS):
        last = one()
    loss = read(last)
    seconds = (time.perf_counter() - began) / STEPS
    assert np.isfinite(loss), f"the loss is {loss}"
    return seconds


def main(engine, work):
    take, too_much, device = {"ours": ours, "torch": torch}[engine](json.loads(work))
    print(json.dumps(device), flush=True)
    for line in sys.stdin:
        rows, remat = line.split()
        try:
            answer = take(int(rows), remat)
        except Exception as problem:
            if not too_much(problem):
                raise
            answer = None
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
