"""A peer that `pantile bench gpu` measures beside: `peers.py PEER DEVICE`, PEER one of torch, triton, fa3, fa4.

Reads one JSON command a line and answers each with one JSON line. Tensors come, and rows of results go, as raw little-endian
files. Attention is handed tensors as [batch, heads, tokens, channels]; what a peer wants otherwise is made before its time is
taken. It compares nothing; `pantile bench` does. On the device `cpu`, of torch alone, it serves the tests.
"""

import importlib
import json
import os
import sys
import time

PEER, DEVICE = sys.argv[1:3]
tensors = {}
calls = {}
# The modules of each peer, the first that is there.
MODULES = {
    "torch": ["torch"],
    "triton": ["triton"],
    "fa3": ["fa3_fwd_interface", "flash_attn_interface"],
    "fa4": ["flash_attn.cute"],
}


def start():
    """What the peer says of itself; imports it."""
    global torch, F, peer
    import torch
    import torch.nn.functional as F

    torch.set_grad_enabled(False)
    if on_gpu():
        torch.cuda.set_device(DEVICE)
    # A folder given by PYTHONPATH does not get its .pth files read, by which the wheels of CuTe DSL find themselves.
    inner = [os.path.join(p, "nvidia_cutlass_dsl", d) for p in sys.path for d in ("python_packages", "dsl_packages")]
    sys.path.extend(p for p in inner if os.path.isdir(p))
    failed = None
    for name in MODULES[PEER]:
        try:
            peer = importlib.import_module(name)
            break
        except ImportError as why:
            failed = failed or why
    else:
        raise failed
    if PEER == "triton":
        import triton_kernels

        peer = triton_kernels
    where = torch.cuda.get_device_name() if on_gpu() else DEVICE
    return f"{PEER} {version()} on {where}"


def version():
    from importlib import metadata

    for name in {"fa3": ["fa3-fwd", "flash-attn-3"], "fa4": ["flash-attn-4", "flash-attn"]}.get(PEER, [PEER]):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return getattr(peer, "__version__", "of an unknown version")


def on_gpu():
    return DEVICE.startswith("cuda")


def wait():
    if on_gpu():
        torch.cuda.synchronize()


def load(name, path, shape, dtype):
    kinds = {"f16": "float16", "bf16": "bfloat16", "f32": "float32", "u8": "uint8", "i32": "int32"}
    data = torch.frombuffer(bytearray(open(path, "rb").read()), dtype=getattr(torch, kinds[dtype]))
    tensors[name] = data.reshape(shape).to(DEVICE)


def lists():
    """The kept key blocks of each query block, ascending, and their number; behind them any block."""
    keep = tensors["mask"].bool()
    index = torch.argsort(keep.to(torch.int8), dim=-1, descending=True, stable=True).to(torch.int32)
    return keep.sum(-1).to(torch.int32), index


def sdpa(q, k, v, causal=False, **_):
    from torch.nn.attention import SDPBackend, sdpa_kernel

    def call():
        # Where cuDNN does not run it, that is said and nothing else is measured.
        with sdpa_kernel(SDPBackend.CUDNN_ATTENTION if on_gpu() else SDPBackend.MATH):
            return F.scaled_dot_product_attention(q, k, v, is_causal=causal)

    return call


def flex(q, k, v, block=128, **_):
    """flex_attention, compiled, over the block pairs that `mask` keeps."""
    from torch.nn.attention.flex_attention import BlockMask, flex_attention

    for name in ("recompile_limit", "cache_size_limit", "accumulated_recompile_limit", "accumulated_cache_size_limit"):
        if hasattr(torch._dynamo.config, name):
            setattr(torch._dynamo.config, name, 256)
    count, index = lists()
    none = torch.zeros_like(count)
    # Blocks that are kept whole do not compile on the CPU (torch 2.15); blocks kept in part, by a mask that is true, do.
    whole = (none, index, count, index) if on_gpu() else (count, index)
    lengths = (q.shape[2], k.shape[2])
    mask = BlockMask.from_kv_blocks(*whole, BLOCK_SIZE=(block, block), seq_lengths=lengths, compute_q_blocks=False)
    attend = torch.compile(flex_attention, dynamic=False)
    return lambda: attend(q, k, v, block_mask=mask)


def fa3(q, k, v, causal=False, **_):
    q, k, v = (t.transpose(1, 2).contiguous() for t in (q, k, v))

    def call():
        out = peer.flash_attn_func(q, k, v, causal=causal)
        return (out[0] if isinstance(out, (tuple, list)) else out).transpose(1, 2)

    return call


def fa4(q, k, v, causal=False, block=128, masked=False, **_):
    q, k, v = (t.transpose(1, 2).contiguous() for t in (q, k, v))
    more = {"causal": causal} if causal else {}
    if masked:
        from flash_attn.cute.block_sparsity import BlockSparseTensorsTorch

        count, index = lists()
        none = torch.zeros_like(count)
        more["block_sparse_tensors"] = BlockSparseTensorsTorch(
            mask_block_cnt=none,
            mask_block_idx=none[..., None].contiguous(),
            full_block_cnt=count.contiguous(),
            full_block_idx=index.contiguous(),
            block_size=(block, block),
        )
    return lambda: peer.flash_attn_func(q, k, v, **more)[0].transpose(1, 2)


def triton_attention(q, k, v, block=128, masked=False, **_):
    count, index = lists() if masked else (None, None)
    return peer.attention(q, k, v, count, index, block)


def copy(x, **_):
    room = torch.empty_like(x)
    return lambda: room.copy_(x)


def gather(x, index, **_):
    """x[:, index, :] into memory that is there already."""
    index, room = index.long(), torch.empty_like(x)
    return lambda: torch.index_select(x, 1, index, out=room)


def add(x, y, count=1, **_):
    """So many additions, none of which is waited for."""
    room = torch.empty_like(x)

    def call():
        for _ in range(count):
            torch.add(x, y, out=room)
        return room

    return call


OPS = {
    "sdpa": sdpa,
    "flex": flex,
    "fa3": fa3,
    "fa4": fa4,
    "triton_attention": triton_attention,
    "triton_matmul": lambda a, b, **_: peer.matmul(a, b),
    "matmul": lambda a, b, **_: lambda: a @ b,
    "softmax": lambda x, **_: lambda: F.softmax(x, -1),
    "rms_norm": lambda x, w, **_: lambda: F.rms_norm(x, (x.shape[-1],), w, 1e-6),
    "copy": copy,
    "gather": gather,
    "add": add,
}


def prepare(name, op, names, more):
    calls[name] = OPS[op](*(tensors[n] for n in names), **more)
    calls[name]()
    wait()


def seconds(name):
    """Of one call, by the GPU's own clock; one before it hides what the host does."""
    call = calls[name]
    if not on_gpu():
        started = time.perf_counter()
        call()
        return time.perf_counter() - started
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    call()
    first.record()
    call()
    last.record()
    torch.cuda.synchronize()
    return first.elapsed_time(last) / 1e3


def wall(name, count):
    """Of one of so many calls, each waited for, by the host's clock."""
    wait()
    started = time.perf_counter()
    for _ in range(count):
        calls[name]()
        wait()
    return (time.perf_counter() - started) / count


def rows(name, path, which):
    """Some rows along the last axis of what a call gives, counted through all others, as f32."""
    out = calls[name]()
    flat = out.reshape(-1, out.shape[-1])
    some = flat[torch.tensor(which, device=flat.device)].float().cpu()
    open(path, "wb").write(some.contiguous().numpy().tobytes())


def answer(said):
    do = said["do"]
    if do == "version":
        return {"version": start()}
    if do == "load":
        load(said["name"], said["path"], said["shape"], said["dtype"])
    elif do == "forget":
        tensors.clear()
        calls.clear()
        if on_gpu():
            torch.cuda.empty_cache()
    elif do == "prepare":
        prepare(said["name"], said["op"], said["tensors"], said.get("more", {}))
    elif do == "time":
        return {"seconds": seconds(said["name"])}
    elif do == "wall":
        return {"seconds": wall(said["name"], said["count"])}
    elif do == "rows":
        rows(said["name"], said["path"], said["rows"])
    elif do == "cold":
        return {"seconds": peer.cold()}
    else:
        return {"error": f"no command {do}"}
    return {}


# Libraries that print must not print among the answers.
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
for line in sys.stdin:
    try:
        said = answer(json.loads(line))
    except Exception as why:  # what a peer cannot do is for the other side to tell
        words = f"{type(why).__name__}: {why}".splitlines()
        said = {"error": words[0] if words else "it fails"}
    print(json.dumps(said), file=answers, flush=True)
