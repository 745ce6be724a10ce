"""Attention and matrix products as they are usually written in Triton: what a tile language gives that is tuned over a few
configurations. They are peers in a measurement, not parts of Pantile.
"""

import math
import time

import torch
import triton
import triton.language as tl


@triton.jit
def attention_kernel(
    Q, K, V, Out, Count, List, scale, N, M, NQ, NK, LISTED: tl.constexpr, BQ: tl.constexpr, BN: tl.constexpr, BLOCK: tl.constexpr, D: tl.constexpr
):
    block, head = tl.program_id(0), tl.program_id(1)
    rows = block * BQ + tl.arange(0, BQ)
    lanes, channels = tl.arange(0, BN), tl.arange(0, D)
    q_at = head.to(tl.int64) * N * D
    k_at = head.to(tl.int64) * M * D
    q = tl.load(Q + q_at + rows[:, None] * D + channels[None, :], mask=rows[:, None] < N, other=0.0)
    top = tl.full([BQ], float("-inf"), tl.float32)
    total = tl.zeros([BQ], tl.float32)
    acc = tl.zeros([BQ, D], tl.float32)
    row = head * NQ + block
    parts: tl.constexpr = BLOCK // BN
    if LISTED:
        steps = tl.load(Count + row) * parts
    else:
        steps = tl.cdiv(M, BN)
    for n in tl.range(0, steps):
        if LISTED:
            start = tl.load(List + row.to(tl.int64) * NK + n // parts) * BLOCK + n % parts * BN
        else:
            start = n * BN
        keys = start + lanes
        k = tl.load(K + k_at + keys[None, :] * D + channels[:, None], mask=keys[None, :] < M, other=0.0)
        s = tl.where(keys[None, :] < M, tl.dot(q, k) * scale, float("-inf"))
        above = tl.maximum(top, tl.max(s, 1))
        above = tl.where(above == float("-inf"), 0.0, above)
        fade = tl.exp2(top - above)
        p = tl.exp2(s - above[:, None])
        total = total * fade + tl.sum(p, 1)
        v = tl.load(V + k_at + keys[:, None] * D + channels[None, :], mask=keys[:, None] < M, other=0.0)
        acc = tl.dot(p.to(v.dtype), v, acc * fade[:, None])
        top = above
    acc = acc / total[:, None]
    tl.store(Out + q_at + rows[:, None] * D + channels[None, :], acc.to(Out.dtype.element_ty), mask=rows[:, None] < N)


def configs(*rows):
    return [triton.Config(sizes, num_warps=warps, num_stages=stages) for sizes, warps, stages in rows]


tuned_attention = triton.autotune(
    configs(
        ({"BN": 64}, 8, 3), ({"BN": 128}, 8, 2), ({"BN": 64}, 4, 3), ({"BN": 128}, 8, 3), ({"BN": 64}, 8, 4)
    ),
    key=["N", "LISTED", "D"],
)(attention_kernel)


def attention(q, k, v, count, index, block):
    """A call: attention over all key blocks, or those that are listed."""
    out = torch.empty_like(q)
    scale = 1.4426950408889634 / math.sqrt(q.shape[-1])
    heads, queries, keys = q.shape[0] * q.shape[1], q.shape[2], k.shape[2]
    blocks = [triton.cdiv(n, block) for n in (queries, keys)]
    grid = (blocks[0], heads)

    def call():
        tuned_attention[grid](
            q, k, v, out, count, index, scale, queries, keys, *blocks,
            LISTED=count is not None, BQ=block, BLOCK=block, D=q.shape[-1],
        )  # fmt: skip
        return out

    return call


@triton.jit
def matmul_kernel(A, B, C, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, GROUP: tl.constexpr):
    # Neighbouring programs share operands in the L2 cache.
    program, across, down = tl.program_id(0), tl.cdiv(N, BN), tl.cdiv(M, BM)
    group = program // (GROUP * across)
    size = min(down - group * GROUP, GROUP)
    i = group * GROUP + program % (GROUP * across) % size
    j = program % (GROUP * across) // size
    rows, columns, inner = i * BM + tl.arange(0, BM), j * BN + tl.arange(0, BN), tl.arange(0, BK)
    acc = tl.zeros([BM, BN], tl.float32)
    for at in tl.range(0, K, BK):
        ks = at + inner
        a = tl.load(A + rows[:, None] * K + ks[None, :], mask=(rows[:, None] < M) & (ks[None, :] < K), other=0.0)
        b = tl.load(B + ks[:, None] * N + columns[None, :], mask=(ks[:, None] < K) & (columns[None, :] < N), other=0.0)
        acc = tl.dot(a, b, acc)
    where = (rows[:, None] < M) & (columns[None, :] < N)
    tl.store(C + rows[:, None] * N + columns[None, :], acc.to(C.dtype.element_ty), mask=where)


tuned_matmul = triton.autotune(
    configs(
        ({"BM": 128, "BN": 256, "BK": 64, "GROUP": 8}, 8, 3),
        ({"BM": 128, "BN": 128, "BK": 64, "GROUP": 8}, 8, 4),
        ({"BM": 128, "BN": 128, "BK": 64, "GROUP": 8}, 4, 4),
        ({"BM": 256, "BN": 128, "BK": 64, "GROUP": 8}, 8, 3),
    ),
    key=["M", "N", "K"],
)(matmul_kernel)


def matmul(a, b):
    """A call: a matrix product."""
    (m, k), n = a.shape, b.shape[1]
    c = torch.empty((m, n), dtype=a.dtype, device=a.device)
    grid = lambda meta: (triton.cdiv(m, meta["BM"]) * triton.cdiv(n, meta["BN"]),)

    def call():
        tuned_matmul[grid](a, b, c, m, n, k)
        return c

    return call


@triton.jit
def nothing(X):
    tl.store(X, 1.0)


def cold():
    """Seconds from a kernel's text to having run once, one configuration; what Triton needs once a process is paid before."""
    x = torch.zeros(1, 1, 128, 128, dtype=torch.bfloat16, device="cuda")
    nothing[(1,)](torch.zeros(1, device="cuda"))
    torch.cuda.synchronize()
    started = time.perf_counter()
    attention_kernel[(1, 1)](
        x, x, x, torch.empty_like(x), None, None, 0.1, 128, 128, 1, 1,
        LISTED=False, BQ=128, BN=64, BLOCK=128, D=128, num_warps=8, num_stages=3,
    )  # fmt: skip
    torch.cuda.synchronize()
    return time.perf_counter() - started
