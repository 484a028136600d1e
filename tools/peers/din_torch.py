#!/usr/bin/env python3
"""DIN (Zhou et al. 2018) in PyTorch: the plain formulas of docs/din.md, with autograd for every gradient. Command line as
for diffumin_torch.py."""
import math
import pathlib
import sys

import torch
import torch.nn.functional as F

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from blocks import Peer, weighted_mean  # noqa: E402
from peer import main  # noqa: E402


class DIN(Peer):
    newest_first = None

    def weights(self, sequence, q, k, batch):
        """How events k [B, L, D] fit the target q [B, D]: [B, L], 0 in empty slots."""
        option, length = self.option, batch[sequence + ".length"]
        present = torch.arange(k.shape[1], device=k.device) < length[:, None]
        q = q[:, None].expand_as(k)
        x = torch.cat([q, k, q - k, q * k], -1)
        for layer in range(len(option["attention"])):
            name = f"{sequence}.attention.{layer}"
            x = self.linear(name, x)
            if layer == 0:
                x = self.watch(name, torch.where(present[..., None], x, 0))
            x = self.activate(name, x, present * batch["valid"][:, None], option["attention_activation"])
        w = self.linear(sequence + ".fit", x)[..., 0]
        if option["softmax"]:
            any_present = present.any(1, keepdim=True)
            w = torch.where(any_present, w.masked_fill(~present & any_present, -math.inf).softmax(-1), 0)
        return torch.where(present, w, 0)

    def pooled(self, sequence, batch):
        item = {f.table: f for f in reversed(self.schema.role("item")) if f.is_id}
        events = [f for f in self.schema.events(sequence) if f.is_id]
        paired = [f for f in events if f.table in item]
        if not paired:
            return super().pooled(sequence, batch)
        rows = {f.name: self.embed(f, batch) for f in events}
        q = torch.cat([self.embed(item[f.table], batch) for f in paired], -1)
        w = self.weights(sequence, q, torch.cat([rows[f.name] for f in paired], -1), batch)
        return self.watch(sequence + ".interest", (w[..., None] * torch.cat(list(rows.values()), -1)).sum(1))

    def score(self, batch, draws):
        """The logit [B, 1]."""
        parts = sum((self.embed_all(self.schema.role(role), batch) for role in ("user", "item", "context")), [])
        x = torch.cat(parts + self.dense_inputs(batch), -1)
        return self.mlp(self.watch("inputs", x), batch["valid"])

    def forward(self, batch, draws):
        logit = self.score(batch, draws)
        loss = F.binary_cross_entropy_with_logits(logit[:, 0], batch["label"], reduction="none")
        loss = weighted_mean(loss, batch["valid"] * batch["weight"])
        return {"bce": loss, "total": loss}

    def random_draws(self, n, device, generator):
        return {}


if __name__ == "__main__":
    main(DIN, __doc__)
