#!/usr/bin/env python3
"""DiffuMIN (arXiv 2508.15311) in PyTorch: the plain formulas of docs/diffumin.md, with autograd for every gradient. It
is written from the description of the model and shares nothing with facet's operators, so that the two check each
other.

    facet trace CONFIG.yaml --output step.h5          one training step of facet with all its numbers
    diffumin_torch.py step.h5 [--data DATASET] [--double] [--verbose]
                                                      the same step here; exits 1 and names what differs
    diffumin_torch.py step.h5 --train DATASET --steps N [--batch-size B] [--device cuda]
                                                      trains from the trace's parameters; loss of each step, samples/s

Letters: B samples, L behaviours, d width of a behaviour, c channels, K reverse steps. Row vectors: y = x W."""
import math
import pathlib
import sys

import torch
import torch.nn.functional as F

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from blocks import Peer, normalize, weighted_mean  # noqa: E402
from peer import main  # noqa: E402

INTEREST_EPSILON = 1e-6
QR_RATIO, QR_SMALLEST = 1e-4, 1e-12


def orthonormal(a, guard, sign):
    """Thin QR of a [B, d, c] → Q. Columns that depend on the former ones (R_jj ≤ max(1e-4 ‖a_j‖, 1e-12)) are replaced
    by the vectors guard [c, d], one after the other, and so get no gradient."""
    limit = (QR_RATIO * a.norm(dim=1)).clamp_min(QR_SMALLEST).detach()
    replaced = torch.zeros_like(limit, dtype=torch.bool)
    while True:
        q, r = torch.linalg.qr(torch.where(replaced[:, None], guard.T, a))
        diagonal = r.diagonal(dim1=1, dim2=2)
        dependent = (diagonal.abs() <= limit) & ~replaced
        if not dependent.any():
            break
        replaced = replaced | (dependent & (dependent.cumsum(1) == 1))  # the first of each sample
    return q * diagonal.sign()[:, None] if sign == "pos" else q


class Schedule:
    """β linear over the levels; ᾱ and the coefficients of the posterior in double."""

    def __init__(self, option, like):
        first, last = float(option["beta_first"]), float(option["beta_last"])
        beta = torch.linspace(first, last, option["levels"], dtype=torch.float64)
        alpha = 1 - beta
        bar = alpha.cumprod(0)
        before = torch.cat([torch.ones(1, dtype=torch.float64), bar[:-1]])
        self.keep, self.noise = bar.sqrt().to(like), (1 - bar).sqrt().to(like)  # x_t = keep x₀ + noise ε
        self.c1 = (beta * before.sqrt() / (1 - bar)).tolist()
        self.c2 = ((1 - before) * alpha.sqrt() / (1 - bar)).tolist()
        self.variance = (beta * (1 - before) / (1 - bar)).tolist()
        self.bar = bar.tolist()
        self.c1[0], self.c2[0], self.variance[0] = 1.0, 0.0, 0.0

    def diffuse(self, x, level, noise):
        """level: [B, c], or one number."""
        keep, amount = self.keep[level], self.noise[level]
        if torch.is_tensor(level):
            keep, amount = keep[..., None], amount[..., None]
        return keep * x + amount * noise


# ---- the model -------------------------------------------------------------------------------------------------------
class DiffuMIN(Peer):
    batch_norm_epsilon, dice_momentum = 1e-3, 0.999

    def __init__(self, option, schema, p, states, sparse_tables=False):
        super().__init__(option, schema, p, states, sparse_tables)
        self.history = option["history"] or next(iter(schema.max_length))
        self.newest_first = self.history if option["recent_first"] else None
        self.schedule = Schedule(option, next(iter(p.values())))
        self.compiled = False  # the parts are compiled

    # interests
    def route(self, e, o, length):
        """e [B, L, d], o [B, c, d] → r [B, c, d] and the number of behaviours in each channel [B, c]."""
        option = self.option
        n_slots = e.shape[1]
        s = e @ o.transpose(1, 2)  # [B, L, c]
        present = torch.arange(n_slots, device=e.device) < length[:, None]
        if not option["use_mask"]:
            present = torch.ones_like(present)
        present = present[..., None]
        routed = F.one_hot(s.argmax(-1), s.shape[-1]).bool() & present  # argmax: the first on ties
        candidates = routed if option["topk_scope"] == "routed" else present.expand_as(s)
        largest = candidates & self.among_largest(s, candidates, present.sum(1))
        selected = routed & largest
        n_selected = selected.sum(1)

        amount = {"sim": lambda: s, "relu": lambda: s.relu(), "one": lambda: torch.ones_like(s)}[option["agg_weight"]]()
        choice = selected.to(e.dtype)
        temperature = float(option["route_st"])
        if temperature > 0:  # forward the hard choice, backward that of a softmax
            soft = torch.softmax(s / temperature, -1)
            choice = (routed.to(e.dtype) + soft - soft.detach()) * largest
        divisor = n_selected.clamp_min(1) if option["agg_denom"] == "sel" else torch.full_like(n_selected, n_slots)
        r = (choice * amount).transpose(1, 2) @ e / divisor[..., None]
        if temperature > 0:
            r = torch.where(n_selected[..., None] > 0, r, 0)  # an empty channel gives no gradient to the choice
        return r, n_selected

    def among_largest(self, s, candidates, n):
        """Is s_tj among the k largest candidates of its channel? Ties go to the lower index. n [B, 1] behaviours."""
        option = self.option
        k = torch.full_like(n, option["top_k"])
        if option["topk_mode"] == "frac":
            share = round(float(option["top_p"]) * 1e6)  # parts per million, so that the ceiling is exact
            k = torch.maximum(k, (n * share + 999_999) // 1_000_000)
        if option["top_k"] >= s.shape[1]:
            return torch.ones_like(candidates)
        k = torch.minimum(k, n)[:, None]  # [B, 1, 1]
        score = s.detach().masked_fill(~candidates, -math.inf).transpose(1, 2)  # [B, c, L]
        largest = score.topk(int(k.max()), sorted=True).values
        smallest = largest.gather(-1, (k - 1).clamp_min(0).expand(-1, s.shape[-1], 1))  # the k-th of each channel
        above, equal = score > smallest, score == smallest
        taken = above | equal & (equal.cumsum(-1) + above.sum(-1, keepdim=True) <= k)
        return taken.transpose(1, 2)

    # transformer layers
    def attention(self, name, h, memory, n_keys, mask=None):
        """Multi-head attention of the rows h [N, n, d] to memory [N, m, d], without biases."""
        heads, d = self.option["heads"], h.shape[-1]
        scale = (d / heads if self.option["attn_scale"] == "head" else n_keys) ** -0.5
        weights = [self.p[f"{name}.{part}.weight"] for part in "qkv"]
        if h is memory:  # one product
            q, k, v = (h @ torch.cat(weights, 1)).unflatten(-1, (3, heads, d // heads)).unbind(-3)
        else:
            q = (h @ weights[0]).unflatten(-1, (heads, d // heads))
            k, v = (memory @ torch.cat(weights[1:], 1)).unflatten(-1, (2, heads, d // heads)).unbind(-3)
        if self.keep_gradients or self.compiled and memory.shape[1] <= 8:
            # for a few keys: a compiler makes one loop of it. (In the fused form the gradient that one key gives to q
            # and k is rounding, not 0.)
            score = scale * (q[:, :, None] * k[:, None]).sum(-1)  # [N, n, m, heads]
            if mask is not None:
                score = score.masked_fill(~mask[:, 0, :, :, None], -math.inf)
            y = (score.softmax(2)[..., None] * v[:, None]).sum(2)
        else:
            q, k, v = (x.transpose(1, 2) for x in (q, k, v))
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale).transpose(1, 2)
        return self.linear(name + ".o", y.flatten(-2), bias=False)

    def attention_to_one(self, name, key):
        """The same to one key, whose weight is 1: nothing depends on the query."""
        return self.linear(name + ".o", self.linear(name + ".v", key, bias=False), bias=False)

    # diffusion
    def time_embedding(self, level, like):
        """level [..] → [.., d]."""
        half = like.shape[-1] // 2
        omega = torch.exp(-torch.arange(half, dtype=torch.float64, device=like.device) * math.log(1e4) / (half - 1))
        angle = level[..., None] * omega
        wave = torch.cat([angle.sin(), angle.cos()], -1).to(like.dtype)
        return self.linear("denoiser.time.1", F.silu(self.linear("denoiser.time.0", wave)))

    def denoiser_context(self, r_hat, o):
        """What the calls of the denoiser share: for each channel i the clean tokens {r̂_j}_{j≠i} [B, c, c − 1, d], and o_i
        as the memory of each layer."""
        n, c, d = o.shape
        others = [[j for j in range(c) if j != i] for i in range(c)]
        clean = r_hat[:, torch.tensor(others, dtype=torch.int64, device=o.device)]
        if self.option["diff_token_flag"]:
            clean = clean + self.p["denoiser.flag"][0]
        key = o.reshape(n * c, 1, d)
        if self.keep_gradients:
            return clean, [key] * self.option["n_layers"]
        return clean, [self.attention_to_one(f"denoiser.{i}.cross", key) for i in range(self.option["n_layers"])]

    def denoise(self, x, time, clean, memory):
        """f(x_i, {r̂_j}_{j≠i}, o_i, t) for all channels i at once: B·c sequences of c tokens, the noised one first, which is
        the one that is read. time: of the level."""
        n, c, d = x.shape
        if self.option["diff_token_flag"]:
            x = x + self.p["denoiser.flag"][1]
        h = (torch.cat([x[:, :, None], clean], 2) + time[..., None, :]).reshape(n * c, c, d)
        for layer in range(self.option["n_layers"]):
            name = f"denoiser.{layer}"
            rows = h if layer + 1 < self.option["n_layers"] else h[:, :1]
            h = self.layer_norm(name + ".norm1", rows + self.attention(name + ".self", rows, h, c))
            cross = self.attention(name + ".cross", h, memory[layer], 1) if self.keep_gradients else memory[layer]
            h = self.layer_norm(name + ".norm2", h + cross)
            h = self.layer_norm(name + ".norm3", h + self.feed_forward(name + ".ffn", h))
        f = h.reshape(n, c, d)
        return self.linear("denoiser.out", f) if self.option["diff_out_proj"] else f

    def sample(self, x, z, clean, memory):
        """K reverse steps from x; z [B, K − 1, c, d] is the noise of the steps t ≥ 1."""
        schedule, n_steps = self.schedule, self.option["steps"]
        n_gradient = min(self.option["diff_bptt"] or n_steps, n_steps)
        with_gradient = torch.is_grad_enabled()
        times = self.time_embedding(torch.arange(n_steps, device=x.device), x)
        for t in range(n_steps - 1, -1, -1):
            if t == n_gradient - 1 and n_gradient < n_steps:
                x = x.detach()
            with torch.set_grad_enabled(with_gradient and t < n_gradient):
                f = self.denoise(x, times[t], clean, memory)
                if self.option["diff_param"] != "x0":  # f is the noise
                    f = x / math.sqrt(schedule.bar[t]) - math.sqrt(1 / schedule.bar[t] - 1) * f
                x = schedule.c1[t] * f + schedule.c2[t] * x
                if t > 0:
                    x = x + math.sqrt(schedule.variance[t]) * z[:, t - 1]
        return x

    # head
    def encode(self, e, e_s, o, length):
        """e*_s: the target's row of a transformer encoder over the first behaviours (the newest) and the target."""
        option = self.option
        e = e[:, :option["subseq_len"]]
        n_slots = e.shape[1]
        h = torch.cat([e, e_s[:, None]], 1)
        mask = None
        if option["use_mask"]:
            mask = torch.arange(n_slots + 1, device=e.device) < length[:, None]
            mask[:, n_slots] = True
            mask = mask[:, None, None]
        shared = option["st_encoder"] == "reuse_diff"
        for layer in range(option["n_layers"]):
            name, norm = f"encoder.{layer}", f"{'denoiser' if shared else 'encoder'}.{layer}"
            rows = h if layer + 1 < option["n_layers"] else h[:, -1:]  # the one that is read
            h = self.layer_norm(norm + ".norm1", rows + self.attention(name + ".self", rows, h, n_slots + 1, mask))
            if shared:  # attention to one key, the last channel, is a linear map of it
                cross = self.linear(name + ".cross.o", self.linear(name + ".cross.v", o[:, -1], bias=False), bias=False)
                h = self.layer_norm(norm + ".norm2", h + cross[:, None])
            h = self.layer_norm(norm + ".norm3", h + self.feed_forward(name + ".ffn", h))
        return h[:, -1]

    # losses
    def diffusion(self, r_hat, omega, draws):
        """The denoiser's error at drawn levels."""
        level, noise = draws["diffusion.level"], draws["diffusion.noise"]
        x = self.watch("diffusion.x", self.schedule.diffuse(r_hat, level, noise))
        f = self.watch("diffusion.f", self.denoise(x, self.time_embedding(level, x), *self.context))
        target = r_hat.detach() if self.option["diff_sg_target"] else r_hat
        if self.option["diff_param"] == "eps":
            target = noise
        return weighted_mean((f - target).square().mean(-1), omega)

    def contrast(self, r_hat, r_star, omega, batch):
        """InfoNCE: per channel, the same sample's g2(r*) among those of all samples."""
        a = normalize(self.feed_forward("contrast.g1", r_hat), INTEREST_EPSILON)
        p = normalize(self.feed_forward("contrast.g2", r_star), INTEREST_EPSILON)
        n = len(a)
        own = torch.eye(n, dtype=torch.bool, device=a.device)
        other = (batch["valid"] > 0)[None].expand(n, n)  # [b, b']
        if self.option["cl_mask_same_user"] and self.schema.user:
            user = batch[self.schema.user]
            other = other & (user[:, None] != user)
        similarity = torch.einsum("bcd,ncd->cbn", a, p) / float(self.option["cl_temperature"])
        similarity = similarity.masked_fill(~(other | own), -math.inf)
        loss = similarity.logsumexp(-1) - similarity.diagonal(dim1=1, dim2=2)  # [c, B]
        return weighted_mean(loss.T, omega)

    def channels(self, a, d):
        """The channels o [B, c, d]; element (r, j) of the matrix A stands at r c + j of a, channel j at j d without QR."""
        c = self.option["channels"]
        if not self.option["orthogonal"]:
            return self.watch("channels.unit", normalize(a.unflatten(-1, (c, d)), INTEREST_EPSILON))
        q = orthonormal(a.unflatten(-1, (d, c)), self.states["orthogonal.guard"], self.option["qr_sign"])
        return self.watch("orthogonal", q.transpose(1, 2))

    def denoised(self, r_hat, o, draws):
        """r*, or what stands for it."""
        option = self.option
        if option["r_star"] != "chain":
            return {"interest": r_hat, "noise": draws.get("chain.noise"), "none": None}[option["r_star"]]
        level = draws["chain.level"] if option["diff_start"] == "uniform" else option["steps"] - 1
        start = self.watch("chain.start", self.schedule.diffuse(r_hat, level, draws["chain.noise"]))
        self.context = self.denoiser_context(r_hat, o)
        return self.watch("chain", self.sample(start, draws.get("chain.z"), *self.context))

    def score(self, batch, draws):
        """The logit [B, 1]. draws: "chain.noise", "chain.z" and, for diff_start uniform, "chain.level"."""
        option, schema = self.option, self.schema
        valid, length = batch["valid"], batch[self.history + ".length"]
        e = self.watch("history", torch.cat(self.embed_all(schema.events(self.history), batch), -1))
        item = torch.cat(self.embed_all(schema.role("item"), batch), -1)
        e_s = self.watch("target", self.linear("target", item))
        a = self.watch("channels", self.linear("channels", e_s, bias=option["chan_bias"]))
        o = self.channels(a, e.shape[-1])
        r, n_selected = self.route(e, o, length)
        self.watch("interests", r)
        self.node["interests:1"] = n_selected
        r_hat = self.watch("interests.unit", normalize(r, INTEREST_EPSILON))

        r_star = self.denoised(r_hat, o, draws)
        self.channel_values = r_hat, r_star, n_selected
        parts = [x.flatten(1) for x in (r, r_star) if x is not None]
        parts += self.embed_all(schema.role("user"), batch) + self.embed_all(schema.role("context"), batch)
        parts += self.dense_inputs(batch, self.history)
        parts.append(self.watch("encoder", self.encode(e, e_s, o, length)))
        parts += {"paper": [], "paper_es": [e_s], "code": [e_s, item]}[option["head_inputs"]]
        logit = self.mlp(self.watch("head", torch.cat(parts, -1)), valid)
        if option["logit_bn"]:
            logit = self.watch("logit.norm", self.batch_norm("logit.norm", logit, valid))
        return logit

    def forward(self, batch, draws):
        """One training step's losses: {"bce", "diffusion", "contrast", "total"}, less what r_star leaves out. draws: also "diffusion.level" and
        "diffusion.noise"."""
        option = self.option
        logit = self.score(batch, draws)
        r_hat, r_star, n_selected = self.channel_values
        weight = batch["valid"] * batch["weight"]
        bce = F.binary_cross_entropy_with_logits(logit[:, 0], batch["label"], reduction="none")
        omega = weight[:, None] * (n_selected > 0 if option["skip_empty"] else torch.ones_like(n_selected))
        losses = {"bce": weighted_mean(bce, weight)}
        if option["r_star"] == "chain":
            losses["diffusion"] = self.diffusion(r_hat, omega, draws)
        if r_star is not None:
            losses["contrast"] = self.contrast(r_hat, r_star, omega, batch)
        losses["total"] = losses["bce"]
        for name in ("diffusion", "contrast"):
            if option["use_aux"] and name in losses:
                losses["total"] = losses["total"] + float(option["lambda_" + name]) * losses[name]
        return losses

    def random_draws(self, n, device, generator):
        """The noise of a batch of n samples."""
        option, make = self.option, {"device": device, "generator": generator}
        c, steps, n_levels = option["channels"], option["steps"], option["levels"]
        d = sum(f.width for f in self.schema.events(self.history) if f.is_id)
        draws = {"chain.noise": torch.randn(n, c, d, **make), "diffusion.noise": torch.randn(n, c, d, **make)}
        if steps > 1:
            draws["chain.z"] = torch.randn(n, steps - 1, c, d, **make)
        if option["diff_start"] == "uniform":
            draws["chain.level"] = torch.randint(n_levels, (n, c), **make)
        draws["diffusion.level"] = torch.randint(n_levels if option["diff_train_t"] == "all" else steps, (n, c), **make)
        return draws


if __name__ == "__main__":
    main(DiffuMIN, __doc__)
