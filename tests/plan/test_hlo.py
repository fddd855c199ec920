"""Cycles, exchanges and kernels out of a module's text."""

import pytest

from xlmr_flax.plan.hlo import cost

HEAD = """HloModule jit_train_step, is_scheduled=true

FileNames
1 "/x/xlmr_flax/train/step.py"
2 "/x/xlmr_flax/model/encoder.py"
3 "/x/site-packages/optax/_src/transform.py"

FunctionNames
1 "train_step"
2 "Attention.__call__"
3 "Project.__call__"
4 "scale_by_adam.<locals>.update_fn"
5 "Encoder.run"

FileLocations
1 {file_name_id=1 function_name_id=1 line=1 end_line=1 column=1 end_column=1}
2 {file_name_id=2 function_name_id=2 line=1 end_line=1 column=1 end_column=1}
3 {file_name_id=2 function_name_id=3 line=1 end_line=1 column=1 end_column=1}
4 {file_name_id=3 function_name_id=4 line=1 end_line=1 column=1 end_column=1}
5 {file_name_id=2 function_name_id=5 line=1 end_line=1 column=1 end_column=1}

StackFrames
1 {file_location_id=1 parent_frame_id=1}
2 {file_location_id=2 parent_frame_id=2}
3 {file_location_id=3 parent_frame_id=3}
4 {file_location_id=4 parent_frame_id=2}
5 {file_location_id=5 parent_frame_id=2}

"""


def module(entry, *computations):
    """A module whose entry computation has these lines."""
    body = "\n".join(f"  {line}" for line in entry)
    return HEAD + "\n\n".join([*computations, f"ENTRY %main (p: f32[8]) -> f32[8] {{\n{body}\n}}"]) + "\n"


def computation(name, *lines):
    """A computation of these lines."""
    return "\n".join([f"%{name} (p: f32[8]) -> f32[8] {{", *(f"  {line}" for line in lines), "}"])


def busy(name, cycles, frame=None, op="add", opcode="fusion(%p)", more=""):
    """An instruction with the compiler's cycles."""
    framed = f" stack_frame_id={frame}" if frame else ""
    return (
        f'%{name} = f32[8]{{0:T(8,128)}} {opcode}{more}, metadata={{op_name="jit(step)/{op}"{framed}}}, '
        f'backend_config={{"estimated_cycles":"{cycles}"}}'
    )


def test_cycles_of_a_loop_count_once_a_turn():
    text = module(
        [busy("a", 5), "%w = (s32[], f32[8]) while(%t), condition=%cond, body=%body"],
        computation("body", busy("b", 100), "%v = (f32[8]) while(%u), condition=%cond2, body=%inner"),
        computation("inner", busy("c", 1000)),
        computation("cond", "%n = s32[] constant(24)", "ROOT %l = pred[] compare(%i, %n), direction=LT"),
        computation("cond2", "%n = s32[] constant(2)", "ROOT %l = pred[] compare(%i, %n), direction=LT"),
    )
    assert sum(cost(text, devices=8).cycles.values()) == 5 + 24 * (100 + 2 * 1000)


def test_a_known_trip_count_is_taken():
    told = 'backend_config={"known_trip_count":{"n":"7"}}'
    text = module([f"%w = (f32[8]) while(%t), condition=%none, body=%body, {told}"], computation("body", busy("b", 3)))
    assert sum(cost(text, devices=8).cycles.values()) == 21


def test_cycles_go_to_the_innermost_function_that_means_something():
    text = module([busy("a", 1, 1), busy("b", 20, 2), busy("c", 300, 3), busy("d", 4000, 4), busy("e", 50000)])
    assert cost(text, devices=8).cycles == {"other": 50000, "optimizer": 4001, "attention": 320}


def test_what_the_step_calls_is_not_the_steps_own():
    text = module([busy("a", 1, 5), busy("b", 20, 5, op="while/body/dynamic_update_slice")])
    assert cost(text, devices=8).cycles == {"layers in and out of the scan": 20, "other": 1}


def test_a_cast_by_itself_is_a_cast_and_one_in_a_product_is_not():
    text = module(
        [
            busy("a", 1, 2, op="convert_element_type"),
            busy("b", 20, 2, op="convert_element_type", more=", kind=kOutput, calls=%product"),
        ],
        computation("product", "%d = bf16[8,8]{1,0} convolution(%x, %y), dim_labels=bf_io->bf"),
    )
    found = cost(text, devices=8)
    assert (found.cycles, found.products) == ({"attention": 20, "casts": 1}, 20)


@pytest.mark.parametrize(
    ("line", "kind", "sent"),
    [
        ("%g = bf16[8,128]{1,0:T(8,128)(2,1)S(1)} all-gather(%p), replica_groups=[1,8]<=[8]", "all-gather", 1792),
        ("%g = (bf16[2,64], bf16[8,64]) all-gather-start(%p), replica_groups={{0,1,2,3},{4,5,6,7}}", "all-gather", 768),
        ("%r = f32[128]{0} all-reduce(%p), replica_groups=[1,8]<=[8], to_apply=%add", "all-reduce", 896),
        ("%r = (f32[64], f32[64]) all-reduce(%p, %q), replica_groups=[2,4]<=[8]", "all-reduce", 768),
        ("%s = f32[16]{0} reduce-scatter(%p), replica_groups=[1,8]<=[8], dimensions={0}", "reduce-scatter", 448),
        ("%t = f32[64]{0} all-to-all(%p), replica_groups=mesh['a'=2,'b'=4] {'b'}, dimensions={0}", "all-to-all", 192),
        (
            "%c = (f32[32], f32[32], u32[], u32[]) collective-permute-start(%p), source_target_pairs={{0,1},{1,0}}",
            "collective-permute",
            128,
        ),
    ],
)
def test_an_exchange_counts_what_a_device_sends_in_a_ring(line, kind, sent):
    (found,) = cost(module([line]), devices=8).collectives
    assert (found.kind, found.count, found.bytes, found.crosses) == (kind, 1, sent, False)


def test_an_exchange_in_a_loop_counts_every_turn():
    line = "%r = f32[128]{0} all-reduce(%p), replica_groups=[1,8]<=[8]"
    loop = '%w = (f32[8]) while(%t), condition=%none, body=%body, backend_config={"known_trip_count":{"n":"3"}}'
    (found,) = cost(module([loop], computation("body", line)), devices=8).collectives
    assert (found.count, found.bytes) == (3, 3 * 896)


def test_an_exchange_that_passes_through_several_fusions_counts_where_it_starts():
    def gather(flag):
        groups = "replica_groups=[1,8]<=[8]"
        return f'%g = bf16[8]{{0}} all-gather(%p), {groups}, backend_config={{"config":{{"flag_start":"{flag}"}}}}'

    text = module(
        [
            "%async-collective-start.1 = (bf16[8]) fusion(%p), kind=kCustom, calls=%begin",
            "%fusion.2 = (bf16[8]) fusion(%p), kind=kCustom, calls=%middle",
            "%async-collective-done.1 = (bf16[8]) fusion(%p), kind=kCustom, calls=%end",
        ],
        computation("begin", gather("-1")),
        computation("middle", gather("2")),
        computation("end", gather("2")),
    )
    (found,) = cost(text, devices=8).collectives
    assert (found.kind, found.count, found.bytes, found.beside) == ("all-gather", 1, 14, True)


def test_a_reduction_of_which_each_keeps_a_part_is_a_scatter():
    text = module(
        ["%fusion.1 = f32[16]{0} fusion(%p), kind=kCustom, calls=%all-reduce-scatter.1"],
        computation("all-reduce-scatter.1", "%r = f32[128]{0} all-reduce(%p), replica_groups=[1,8]<=[8]"),
    )
    (found,) = cost(text, devices=8).collectives
    assert (found.kind, found.bytes, found.beside) == ("reduce-scatter", 448, False)


@pytest.mark.parametrize(
    ("groups", "sent"),
    [
        ("mesh['x'=2,'y'=4] {'y'}", 768),
        ("mesh['x'=2,'y'=4], device_ids=([4,2]T(1,0)) {'x'}", 512),
        ("mesh['x'=2,'y'=2,'z'=2] {'x','z'}", 768),
        ("[4,2]<=[2,4]T(1,0)", 512),
        ("{{0,1},{2,3},{4,5},{6,7}}", 512),
        ("{}", 896),
    ],
)
def test_a_group_is_read_however_it_is_written(groups, sent):
    text = module([f"%r = f32[128]{{0}} all-reduce(%p), replica_groups={groups}, use_global_device_ids=true"])
    (found,) = cost(text, devices=8).collectives
    assert found.bytes == sent


def test_an_exchange_between_slices_is_told_apart():
    told = 'frontend_attributes={_xla_megascale_target="{1,2}x{0:7}",_xla_megascale_transfer_type="ALL_REDUCE"}'
    text = module([f"%s = (f32[128]{{0}}, u32[], token[]) send(%a, %b), channel_id=6, is_host_transfer=true, {told}"])
    (two,), (four,) = (cost(text, devices=8, slices=slices).collectives for slices in (2, 4))
    assert (two.kind, two.count, two.bytes, two.crosses) == ("all-reduce", 1, 512, True)
    assert four.bytes == 768


def kernel(estimate):
    config = f'backend_config={{"custom_call_config":{{"body":"x"{estimate}}}}}'
    return (
        '%k = f32[512]{0} custom-call(%p), custom_call_target="tpu_custom_call", '
        f"operand_layout_constraints={{f32[512]{{0}}, bf16[8]{{0}}}}, frontend_attributes={{}}, {config}"
    )


def test_a_custom_kernel_costs_what_it_states():
    (found,) = cost(module([kernel(',"cost_estimate":{"flops":"1000","bytes_accessed":"64"}')]), devices=8).kernels
    assert (found.flops, found.bytes, found.stated, found.times) == (1000, 64, True, 1)


def test_a_custom_kernel_that_states_nothing_costs_the_bytes_that_go_in_and_out():
    (found,) = cost(module([kernel("")]), devices=8).kernels
    assert (found.bytes, found.stated) == (2048 + 2048 + 16, False)


def test_what_follows_a_kernel_that_describes_itself_counts_too():
    described = 'frontend_attributes={kernel_metadata={\n"xprof_metadata":"{}"\n}}'
    one = kernel("").replace("frontend_attributes={}", described)
    found = cost(module([one, one, busy("a", 5)]), devices=8)
    assert (len(found.kernels), sum(found.cycles.values())) == (2, 5)


def test_the_compilers_own_calls_are_no_kernels():
    text = module(['%k = s32[8]{0} custom-call(%p), custom_call_target="AssumeGatherIndicesInBound"'])
    assert cost(text, devices=8).kernels == ()
