"""What an optimised HLO module for a TPU costs by the compiler's own figures.

The compiler writes the cycles that it expects beside most instructions. A step's are their sum over the entry
computation and, times the trip count, over the bodies of its loops. Collectives have none: they are counted, with the
bytes that a device sends. Custom kernels have none either: they are counted at their roofline.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
BYTES = {"pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4}
BYTES |= {"s64": 8, "u64": 8, "f64": 8, "s4": 1, "u4": 1, "f8e4m3fn": 1, "f8e5m2": 1}

KERNELS = ("tpu_custom_call",)  # what Pallas writes; other custom calls are the compiler's own and cost nothing

# Where a function belongs, by the beginning of its qualified name or the end of its file's; the innermost one decides.
FUNCTIONS = (
    ("Norm.", "layer norm"),
    ("drop", "dropout"),
    ("_drop", "dropout"),
    ("Attention.", "attention"),
    ("FeedForward.", "feed-forward"),
    ("Embeddings.", "embedding"),
)
FILES = (
    ("model/dropout.py", "dropout"),
    ("model/heads.py", "head"),
    ("train/optimizer.py", "optimizer"),
    ("/optax/", "optimizer"),
)
SLICES = ("dynamic_slice", "dynamic_update_slice", "dynamic_index_in_dim")


class Kernel(NamedTuple):
    """A custom kernel: what it says that it costs, or, where it says nothing, the bytes that go in and out."""

    flops: float
    bytes: float
    stated: bool
    times: int
    source: str


class Collective(NamedTuple):
    """One exchange between devices, all times that a step does it."""

    kind: str
    count: int
    bytes: int  # that one device sends, as a ring does it
    crosses: bool  # from one slice to another
    beside: bool  # runs beside computing


class Cost(NamedTuple):
    """What one run of a program costs a device."""

    cycles: Mapping[str, int]  # by source
    products: int  # of them in matrix products
    collectives: tuple[Collective, ...]
    kernels: tuple[Kernel, ...]


class _Instruction(NamedTuple):
    name: str
    shape: str
    opcode: str
    line: str


def cost(text: str, *, devices: int, slices: int = 1) -> Cost:
    """Reads a compiled module's text; `devices` are those of one slice, for which the module is written."""
    module = _Module(text, devices, slices)
    module.visit(module.entry, 1)
    return Cost(dict(module.cycles.most_common()), module.products, tuple(module.collectives), tuple(module.kernels))


class _Module:
    """A module's computations, and what was found on the way through them."""

    def __init__(self, text: str, devices: int, slices: int) -> None:
        self.computations, self.entry = _computations(text)
        self.frames = _Frames(text)
        self.devices, self.slices = devices, slices
        self.cycles: Counter[str] = Counter()
        self.products = 0
        self.collectives: list[Collective] = []
        self.kernels: list[Kernel] = []

    def visit(self, name: str, times: int) -> None:
        """Adds what a computation costs that runs `times`."""
        for one in self.computations[name]:
            self._count(one, times)
            match one.opcode:
                case "while":
                    self.visit(_called(one, "body"), times * self._trips(one))
                case "conditional":
                    for branch in _branches(one)[:1]:
                        self.visit(branch, times)
                case "call" | "async-start":
                    for called in _names(one.line, r"(?:to_apply|calls|called_computation)"):
                        self.visit(called, times)

    def _count(self, one: _Instruction, times: int) -> None:
        if cycles := re.search(r'"estimated_cycles":"(\d+)"', one.line):
            product = self._has_product(one)
            self.cycles[self._source(one, product)] += int(cycles[1]) * times
            self.products += int(cycles[1]) * times * product
        elif one.opcode == "custom-call" and any(f'"{kernel}"' in one.line for kernel in KERNELS):
            self.kernels.append(_kernel(one, times, self._source(one, product=False)))
        self.collectives += self._exchanges(one, times)

    def _exchanges(self, one: _Instruction, times: int) -> Iterator[Collective]:
        if one.opcode == "send" and (found := re.search(r'_xla_megascale_transfer_type="(\w+)"', one.line)):
            kind = found[1].lower().replace("_", "-")
            sent = _sizes(one.shape)[0] * (2 * (self.slices - 1) / self.slices if kind == "all-reduce" else 1)
            yield Collective(kind, times, int(sent) * times, crosses=True, beside=True)
        beside = one.opcode.endswith("-start") or one.name.startswith("async-collective-start")
        for inner in (one, *self._inside(one)):
            kind = inner.opcode.removesuffix("-start")
            # An exchange that runs beside computing stands in every fusion that it passes; the first one starts it.
            flag = re.search(r'"flag_start":"(-?\d+)"', inner.line)
            if kind in KINDS and not (inner is not one and flag and flag[1] != "-1"):
                sent = _sent(kind, inner, _group(inner.line, self.devices))
                if "scatter" in one.line.partition("calls=")[2].partition(",")[0]:
                    kind, sent = "reduce-scatter", sent // 2
                yield Collective(kind, times, sent * times, crosses=False, beside=beside)

    def _inside(self, one: _Instruction) -> Iterator[_Instruction]:
        if one.opcode == "fusion":
            for called in _names(one.line, "calls"):
                for inner in self.computations[called]:
                    yield inner
                    yield from self._inside(inner)

    def _trips(self, loop: _Instruction) -> int:
        if known := re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.line):
            return int(known[1])
        condition = self.computations[_called(loop, "condition")]
        found = [int(n) for one in condition for n in re.findall(r"constant\((\d+)\)", one.line)]
        return max(found, default=1)

    def _has_product(self, one: _Instruction) -> bool:
        return any(inner.opcode in ("convolution", "dot") for inner in (one, *self._inside(one)))

    def _source(self, one: _Instruction, product: bool) -> str:
        operation = re.search(r'op_name="([^"]*)"', one.line)
        last = operation[1].rpartition("/")[2] if operation else one.opcode
        if not product and last in ("convert_element_type", "convert"):
            return "casts"
        frame = re.search(r"stack_frame_id=(\d+)", one.line)
        found = self.frames.source(int(frame[1])) if frame else None
        if found:
            return found
        if operation and any(part in operation[1] for part in SLICES):
            return "layers in and out of the scan"
        return "copies" if last == "copy" else "other"


class _Frames:
    """Which functions an instruction came through, from the tables at the module's top."""

    def __init__(self, text: str) -> None:
        head = text[: text.find("\nENTRY ")] if "\nENTRY " in text else text
        self.files = dict(_quoted(head, "FileNames"))
        self.functions = dict(_quoted(head, "FunctionNames"))
        self.locations = {
            int(number): (int(file), int(function))
            for number, file, function in re.findall(r"^(\d+) \{file_name_id=(\d+) function_name_id=(\d+)", head, re.M)
        }
        self.frames = {
            int(number): (int(place), int(parent) - 1)  # parents are written one too high
            for number, place, parent in re.findall(
                r"^(\d+) \{file_location_id=(\d+) parent_frame_id=(\d+)", head, re.M
            )
        }

    def source(self, frame: int) -> str | None:
        """The part of the network or of training that the innermost function stands for."""
        inner = True
        while frame in self.frames:
            place, frame = self.frames[frame]
            file, function = self.locations.get(place, (0, 0))
            name, path = self.functions.get(function, ""), self.files.get(file, "")
            if found := _belongs(name, path):
                return found
            if name.startswith("train_step"):  # the step itself divides gradients and updates; it calls all the rest
                return "optimizer" if inner and not name.endswith("loss") else None
            inner = inner and "/xlmr_flax/" not in path
        return None


def _belongs(function: str, path: str) -> str | None:
    for start, source in FUNCTIONS:
        if function.startswith(start):
            return source
    for part, source in FILES:
        if part in path:
            return source
    return None


def _quoted(text: str, title: str) -> Iterator[tuple[int, str]]:
    """The numbered lines of a table."""
    table = text.partition(f"\n{title}\n")[2].partition("\n\n")[0]
    for number, name in re.findall(r'^(\d+) "(.*)"$', table, re.M):
        yield int(number), name


def _computations(text: str) -> tuple[dict[str, list[_Instruction]], str]:
    found: dict[str, list[_Instruction]] = {}
    current, entry = None, ""
    for line in _lines(text):
        if title := re.match(r"(ENTRY )?%?([\w.\-]+) \(.*\) -> .* \{\s*$", line):
            current = found[title[2]] = []
            entry = title[2] if title[1] else entry
        elif line.startswith("}"):
            current = None
        elif current is not None and (one := _instruction(line.strip())):
            current.append(one)
    return found, entry


def _lines(text: str) -> Iterator[str]:
    """A module's lines; those of a kernel's metadata (`kernel_metadata={`, quoted text, `}}, …`) are put together."""
    whole: list[str] = []
    for line in text.splitlines():
        if whole and not line.startswith(('"', "}}")):
            yield "".join(whole)
            whole = []
        whole.append(line)
    yield "".join(whole)


def _instruction(line: str) -> _Instruction | None:
    name, equals, rest = line.removeprefix("ROOT ").partition(" = ")
    if not equals:
        return None
    end = _closing(rest) if rest.startswith("(") else rest.find(" ")
    opcode = rest[end:].strip().partition("(")[0]
    return _Instruction(name.lstrip("%"), rest[:end], opcode, line)


def _closing(text: str) -> int:
    """Where the parenthesis that opens a text is closed."""
    depth = 0
    for place, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if not depth:
            return place + 1
    return len(text)


def _called(one: _Instruction, role: str) -> str:
    return _names(one.line, role)[0]


def _names(line: str, role: str) -> list[str]:
    return re.findall(rf"{role}=%?([\w.\-]+)", line)


def _branches(one: _Instruction) -> list[str]:
    listed = re.search(r"branch_computations=\{([^}]*)\}", one.line)
    return re.findall(r"%?([\w.\-]+)", listed[1]) if listed else _names(one.line, "true_computation")


def _sizes(shape: str) -> list[int]:
    """Bytes of a shape's arrays."""
    return [
        BYTES.get(kind, 4) * math.prod(int(size) for size in sizes.split(",") if size)
        for kind, sizes in re.findall(r"\b([a-z]+\d*(?:e\d\w+)?)\[([\d,]*)\]", shape)
    ]


def _sent(kind: str, one: _Instruction, group: int) -> int:
    """What a device sends: with a ring, all but its own share; to reduce and gather again, twice that."""
    sizes, started = _sizes(one.shape), one.opcode.endswith("-start")
    match kind:
        case "all-gather":
            return (max(sizes) if started else sum(sizes)) * (group - 1) // group
        case "reduce-scatter":
            return (min(sizes) if started else sum(sizes)) * (group - 1)
        case "collective-permute":
            return sizes[0]
        case "all-to-all":
            return (sum(sizes) // (2 if started else 1)) * (group - 1) // group
    return 2 * sum(sizes) * (group - 1) // group


def _group(line: str, devices: int) -> int:
    """How many devices exchange with each other, in whichever of the compiler's three ways they are written."""
    if mesh := re.search(r"replica_groups=mesh\[([^\]]*)\][^{]*\{([^}]*)\}", line):
        sizes = {name: int(size) for name, size in re.findall(r"'(\w+)'=(\d+)", mesh[1])}
        return math.prod(sizes[name] for name in re.findall(r"'(\w+)'", mesh[2]))
    if dealt := re.search(r"replica_groups=\[\d+,(\d+)\]<=", line):
        return int(dealt[1])
    if told := re.search(r"replica_groups=\{\{([\d, ]+)\}", line):
        return len(told[1].split(","))
    return devices


def _kernel(one: _Instruction, times: int, source: str) -> Kernel:
    told = re.search(r'"cost_estimate":\{([^}]*)\}', one.line)
    figures = dict(re.findall(r'"(\w+)":"?(\d+)', told[1])) if told else {}
    operands = re.search(r"operand_layout_constraints=\{(.*?)\}, (?:custom_call|metadata|backend|frontend)", one.line)
    moved = sum(_sizes(one.shape)) + sum(_sizes(operands[1]) if operands else [])
    return Kernel(
        float(figures.get("flops", 0)), float(figures.get("bytes_accessed", moved)), bool(told), times, source
    )
