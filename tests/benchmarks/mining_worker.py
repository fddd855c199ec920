"""Searches both ways when told to by a line on standard input: by ours, or by faiss in an environment that has it.

python mining_worker.py ours|faiss FOLDER K: FOLDER holds x.npy and y.npy; each search prints its seconds and the most
memory, in bytes, that it took beyond the mapped matrices, and writes scores and numbers beside them.
"""

import contextlib
import json
import sys
import threading
import time
from pathlib import Path

import numpy as np


def search_ours(x, y, k):
    from xlmr_flax.evaluate.mining import top_k_both

    return [array for found in top_k_both(x, y, k) for array in found]


def search_faiss(x, y, k):
    import faiss

    found = []
    for queries, candidates in ((x, y), (y, x)):
        index = faiss.IndexFlatIP(queries.shape[1])
        index.add(candidates)
        found += index.search(queries, k)
    return found


def anonymous_bytes():
    """Memory of this process that is no page of a file."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return 1024 * int(line.split()[1])


@contextlib.contextmanager
def peak():
    """A list to which the most memory above that of now is appended."""
    found, done, start = [0], threading.Event(), anonymous_bytes()

    def watch():
        while not done.wait(0.05):
            found[0] = max(found[0], anonymous_bytes() - start)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        done.set()
        watcher.join()


def main(engine, folder, k):
    x, y = (np.load(Path(folder) / f"{name}.npy", mmap_mode="r") for name in "xy")
    search = {"ours": search_ours, "faiss": search_faiss}[engine]
    search(x[:8192], y[:4096], int(k))  # compiles, and wakes the threads
    print(json.dumps("ready"), flush=True)
    for _ in sys.stdin:
        with peak() as most:
            start = time.perf_counter()
            found = search(x, y, int(k))
            seconds = time.perf_counter() - start
        np.savez(Path(folder) / f"{engine}.npz", *found)
        print(json.dumps({"seconds": seconds, "bytes": most[0]}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
