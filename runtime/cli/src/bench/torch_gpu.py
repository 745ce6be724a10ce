"""The peer that `pantile bench gpu --torch PYTHON` measures beside: attention, matrix products and softmax of torch on a GPU.

Reads one JSON command a line and answers each with one JSON line. Tensors come and go as raw little-endian files in their own
dtype. It compares nothing; `pantile bench` does.
"""

import json
import sys

import torch
import torch.nn.functional as F

DTYPES = {"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32}
tensors = {}
calls = {}


def load(name, path, shape, dtype):
    data = bytearray(open(path, "rb").read())
    tensors[name] = torch.frombuffer(data, dtype=DTYPES[dtype]).reshape(shape).cuda()


def flex(q, k, v, bits, block):
    """flex_attention, compiled, over the block pairs that `bits` keeps."""
    from torch.nn.attention.flex_attention import BlockMask, flex_attention

    keep = tensors[bits].bool()
    count = keep.sum(-1).to(torch.int32)
    index = torch.argsort(keep.int(), dim=-1, descending=True, stable=True).to(torch.int32)
    none = torch.zeros_like(count)
    mask = BlockMask.from_kv_blocks(none, index, count, index, BLOCK_SIZE=(block, block))
    attend = torch.compile(flex_attention)
    return lambda: attend(tensors[q], tensors[k], tensors[v], block_mask=mask)


def sdpa(x):
    from torch.nn.attention import SDPBackend, sdpa_kernel

    def call():
        with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
            return F.scaled_dot_product_attention(*x)

    return call


def prepare(name, op, args):
    x = [tensors[a] for a in args.get("tensors", [])]
    if op == "sdpa":
        calls[name] = sdpa(x)
    elif op == "matmul":
        calls[name] = lambda: x[0] @ x[1]
    elif op == "softmax":
        calls[name] = lambda: F.softmax(x[0], -1)
    elif op == "copy":
        room = torch.empty_like(x[0])
        calls[name] = lambda: room.copy_(x[0])
    elif op == "flex":
        calls[name] = flex(*args["tensors"], args["mask"], args["block"])
    calls[name]()
    torch.cuda.synchronize()


def time(name):
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    calls[name]()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / 1e3


def answer(command):
    do = command["do"]
    if do == "version":
        return {"version": f"{torch.__version__} on {torch.cuda.get_device_name()}"}
    if do == "threads":
        return {}
    if do == "load":
        load(command["name"], command["path"], command["shape"], command["dtype"])
        return {}
    if do == "forget":
        tensors.clear()
        calls.clear()
        torch.cuda.empty_cache()
        return {}
    if do == "prepare":
        prepare(command["name"], command["op"], command)
        return {}
    if do == "time":
        return {"seconds": time(command["name"])}
    if do == "result":
        out = calls[command["name"]]().contiguous()
        open(command["path"], "wb").write(out.float().cpu().numpy().tobytes())
        return {}
    return {"error": f"no command {do}"}


torch.set_grad_enabled(False)
for line in sys.stdin:
    try:
        print(json.dumps(answer(json.loads(line))), flush=True)
    except Exception as why:  # what torch cannot do is for the other side to tell
        print(json.dumps({"error": f"{type(why).__name__}: {why}".splitlines()[0]}), flush=True)
