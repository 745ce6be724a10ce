"""The peer that `pantile bench cpu --torch PYTHON` measures beside: attention and matrix products of torch on the CPU.

Reads one JSON command a line and answers each with one JSON line. Tensors come as raw little-endian files. It compares
nothing; `pantile bench` does.
"""

import json
import sys
import time

import torch
import torch.nn.functional as F

tensors = {}
calls = {}


DTYPES = {"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32}


def load(name, path, shape, dtype):
    data = bytearray(open(path, "rb").read())
    tensors[name] = torch.frombuffer(data, dtype=DTYPES[dtype]).reshape(shape)


def flex(q, k, v, bits, block):
    """flex_attention, compiled, over the block pairs that `bits` keeps."""
    from torch.nn.attention.flex_attention import BlockMask, flex_attention

    keep = tensors[bits].bool()
    count = keep.sum(-1).to(torch.int32)
    index = torch.argsort(keep.int(), dim=-1, descending=True, stable=True).to(torch.int32)
    # Blocks that are kept whole do not compile on the CPU (torch 2.15); blocks kept in part, by a mask that is true, do.
    mask = BlockMask.from_kv_blocks(count, index, BLOCK_SIZE=(block, block))
    attend = torch.compile(flex_attention)
    return lambda: attend(tensors[q], tensors[k], tensors[v], block_mask=mask)


def prepare(name, op, args):
    x = [tensors[a] for a in args.get("tensors", [])]
    if op == "sdpa":
        calls[name] = lambda: F.scaled_dot_product_attention(*x)
    elif op == "matmul":
        calls[name] = lambda: x[0] @ x[1]
    elif op == "flex":
        calls[name] = flex(*args["tensors"], args["more"]["mask"], args["more"]["block"])
    started = time.perf_counter()
    calls[name]()
    return time.perf_counter() - started


def answer(command):
    do = command["do"]
    if do == "version":
        return {"version": torch.__version__, "threads": torch.get_num_threads()}
    if do == "threads":
        torch.set_num_threads(command["n"])
        return {}
    if do == "load":
        load(command["name"], command["path"], command["shape"], command["dtype"])
        return {}
    if do == "prepare":
        return {"seconds": prepare(command["name"], command["op"], command)}
    if do == "time":
        started = time.perf_counter()
        calls[command["name"]]()
        return {"seconds": time.perf_counter() - started}
    if do == "result":
        out = calls[command["name"]]().contiguous()
        open(command["path"], "wb").write(out.float().numpy().tobytes())
        return {}
    return {"error": f"no command {do}"}


torch.set_grad_enabled(False)
for line in sys.stdin:
    try:
        print(json.dumps(answer(json.loads(line))), flush=True)
    except Exception as why:  # what torch cannot do is for the other side to tell
        print(json.dumps({"error": f"{type(why).__name__}: {why}".splitlines()[0]}), flush=True)
