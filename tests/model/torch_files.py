"""Writes PyTorch's `.bin` files without PyTorch, harmful ones too; loaded by path, because tests are no package."""

import collections
import io
import pickle
import struct
import zipfile

from xlmr_flax.model.unpickle import LEGACY_MAGIC, LEGACY_PROTOCOL

KINDS = {"float32": "FloatStorage", "float16": "HalfStorage", "bfloat16": "BFloat16Storage", "int64": "LongStorage"}


class Named:
    """Something that a pickle names without our having it."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class Call:
    """A call that a pickle makes when it is read."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments


class Storage:
    def __init__(self, key, array, kind=None):
        self.key, self.array, self.kind = key, array, kind or KINDS[array.dtype.name]


class Writer(pickle._Pickler):
    """Writes what torch.save writes; the pure Python pickler lets a test write any name and any call."""

    def __init__(self, file, legacy):
        super().__init__(file, protocol=2)
        self.legacy = legacy

    def persistent_id(self, value):
        if not isinstance(value, Storage):
            return None
        view = (None,) if self.legacy else ()
        return ("storage", Named("torch", value.kind), value.key, "cpu", value.array.size, *view)

    def save(self, value, *rest, **named):
        if isinstance(value, Named):
            self.write(pickle.GLOBAL + f"{value.module}\n{value.name}\n".encode())
        elif isinstance(value, Call):
            self.save(value.function)
            self.save(tuple(value.arguments))
            self.write(pickle.REDUCE)
        else:
            super().save(value, *rest, **named)


REBUILD = Named("torch._utils", "_rebuild_tensor_v2")


def tensor(key, array, offset=0, shape=None, stride=None):
    shape = array.shape if shape is None else shape
    stride = tuple(step // array.itemsize for step in array.strides) if stride is None else stride
    return Call(REBUILD, Storage(key, array), offset, shape, stride, False, Call(Named("collections", "OrderedDict")))


def pickled(value, legacy=False):
    file = io.BytesIO()
    Writer(file, legacy).dump(value)
    return file.getvalue()


def write_zip(path, value, storages, byteorder=b"little"):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled(value))
        archive.writestr("archive/byteorder", byteorder)
        archive.writestr("archive/version", b"3\n")
        for key, array in storages.items():
            archive.writestr(f"archive/data/{key}", array.tobytes())


def write_legacy(path, value, storages, little=True):
    parts = [pickled(part) for part in (LEGACY_MAGIC, LEGACY_PROTOCOL, {"little_endian": little})]
    parts += [pickled(value, legacy=True), pickled(sorted(storages))]
    parts += [struct.pack("<q", storages[key].size) + storages[key].tobytes() for key in sorted(storages)]
    path.write_bytes(b"".join(parts))


def whole(tensors):
    """A state dict as torch pickles it, each tensor with a storage of its own."""
    keys = {name: str(i) for i, name in enumerate(tensors)}
    state = collections.OrderedDict((name, tensor(keys[name], array)) for name, array in tensors.items())
    return state, {keys[name]: array for name, array in tensors.items()}
