"""What the PyTorch peers of facet's models share: named parameters, embeddings, BatchNorm, Dice, the MLP. Row vectors:
y = x W. Rows with valid = 0 pad the batch and stay out of every statistic."""
import torch
import torch.nn.functional as F

from facet_files import MODEL_ROLES

LAYER_NORM_EPSILON, DICE_EPSILON = 1e-6, 1e-9


def normalize(x, epsilon):
    return x / x.norm(dim=-1, keepdim=True).clamp_min(epsilon)


def mean_of_valid(x, valid):
    """x [B, n], valid [B] in {0, 1}: the mean over the valid rows, [n]."""
    return (x * valid[:, None]).sum(0) / valid.sum()


def weighted_mean(x, weight):
    """Σ ω x / Σ ω; 0 where no weight is left."""
    total = weight.sum()
    return (weight * x).sum() / torch.where(total > 0, total, 1)


def history_mean(x, length):
    """x [B, L, n] → [B, n]: the mean over the first length[b] events."""
    present = torch.arange(x.shape[1], device=x.device) < length[:, None]
    return (x * present[..., None]).sum(1) / length.clamp_min(1)[:, None]


class Peer:
    """A model. option: section `model` of the configuration; p: parameters and tables by facet's names; states: what
    facet keeps beside parameters, such as running averages. A subclass has forward(batch, draws) → losses with "total",
    random_draws, and newest_first (the sequence that it reads so, or None)."""

    batch_norm_epsilon, batch_norm_momentum, dice_momentum = 1e-5, 0.99, 0.99

    def __init__(self, option, schema, p, states, sparse_tables=False):
        self.option, self.schema, self.p, self.states, self.sparse_tables = option, schema, p, states, sparse_tables
        self.node = {}  # named intermediate values
        self.shifted = {}  # what each bias and beta is added to
        self.training = True  # statistics of the batch, which move the averages; else the averages
        self.keep_gradients = False  # of values and of the terms of biases, for comparison; else the fused, fast forms
        self.kink = 0.0  # where ReLU's slope changes

    def watch(self, name, x):
        self.node[name] = x
        if self.keep_gradients and x.requires_grad:
            x.retain_grad()
        return x

    def shift(self, name, x):
        """x + the parameter, which is a bias."""
        y = x + self.p[name]
        if self.keep_gradients and y.requires_grad:
            y.retain_grad()
            self.shifted.setdefault(name, []).append(y)
        return y

    def relu(self, x):
        return x * (x > self.kink) if self.kink else x.relu()

    def linear(self, name, x, bias=True):
        if not self.keep_gradients:
            return F.linear(x, self.p[name + ".weight"].t(), self.p[name + ".bias"] if bias else None)
        y = x @ self.p[name + ".weight"]
        return self.shift(name + ".bias", y) if bias else y

    def feed_forward(self, name, x):
        return self.linear(name + ".1", self.relu(self.linear(name + ".0", x)))

    def layer_norm(self, name, x):
        if not self.keep_gradients:
            return F.layer_norm(x, x.shape[-1:], self.p[name + ".gamma"], self.p[name + ".beta"], LAYER_NORM_EPSILON)
        x = F.layer_norm(x, x.shape[-1:], self.p[name + ".gamma"], eps=LAYER_NORM_EPSILON)
        return self.shift(name + ".beta", x)

    def average(self, name, value, momentum):
        with torch.no_grad():
            self.states[name].lerp_(value, 1 - momentum)

    def batch_norm(self, name, x, valid):
        if self.training:
            mean = mean_of_valid(x, valid)
            variance = mean_of_valid((x - mean).square(), valid)
            self.average(name + ".mean", mean, self.batch_norm_momentum)
            self.average(name + ".variance", variance, self.batch_norm_momentum)
        else:
            mean, variance = self.states[name + ".mean"], self.states[name + ".variance"]
        x = (x - mean) / (variance + self.batch_norm_epsilon).sqrt()
        return self.shift(name + ".beta", x * self.p[name + ".gamma"])

    def dice(self, name, x, valid):
        """x [B, .., n], valid [B, ..]."""
        shape, x, valid = x.shape, x.reshape(-1, x.shape[-1]), valid.reshape(-1)
        if self.training:
            mean = mean_of_valid(x, valid)
            sd = (mean_of_valid((x - mean).square(), valid) + DICE_EPSILON).sqrt()
            self.average(name + ".mean", mean, self.dice_momentum)
            self.average(name + ".sd", sd, self.dice_momentum)
        else:
            mean, sd = self.states[name + ".mean"], self.states[name + ".sd"]
        gate = torch.sigmoid((x - mean) / (sd + DICE_EPSILON))
        return (x * (gate + self.p[name + ".alpha"] * (1 - gate))).reshape(shape)

    def activate(self, name, x, valid, activation):
        if activation == "dice":
            return self.dice(name + ".dice", x, valid)
        if activation == "prelu":
            return x.relu() - self.p[name + ".prelu.slope"] * (-x).relu()
        if activation == "none":
            return x
        return {"relu": self.relu, "sigmoid": torch.sigmoid, "swish": F.silu, "tanh": torch.tanh}[activation](x)

    def mlp(self, x, valid):
        """Hidden layers and the logit [B, 1]."""
        assert float(self.option["dropout"]) == 0, "dropout is not implemented here"
        normed, activation = self.option["batch_norm"], self.option["activation"]
        fused = not normed and activation not in ("dice", "prelu")  # facet's layer holds the activation, too
        for layer in range(len(self.option["mlp"])):
            name = f"mlp.{layer}"
            x = self.linear(name, x)
            if fused:
                x = self.watch(name, self.activate(name, x, valid, activation))
                continue
            x = self.watch(name, x)
            if normed:
                x = self.batch_norm(name + ".norm", x, valid)
            x = self.activate(name, x, valid, activation)
        return self.watch("logit", self.linear("logit", x))

    def embed(self, feature, batch):
        """Rows of the table; id 0 gives zeros. Bags are pooled over their ids."""
        ids = batch[feature.name]
        rows = F.embedding(ids, self.p[feature.table], padding_idx=0, sparse=self.sparse_tables)
        if not feature.bag:
            return rows
        rows = rows.sum(-2)
        return rows if feature.pooling == "sum" else rows / (ids != 0).sum(-1, keepdim=True).clamp_min(1)

    def embed_all(self, features, batch):
        return [self.embed(f, batch) for f in features if f.is_id]

    def pooled(self, sequence, batch):
        """What a model makes of the ids of a sequence that it does not treat otherwise: their mean; None without ids."""
        ids = self.embed_all(self.schema.events(sequence), batch)
        return history_mean(torch.cat(ids, -1), batch[sequence + ".length"]) if ids else None

    def dense_inputs(self, batch, routed=None):
        """What enters the head beside embeddings of the sample: its float features; for every sequence its pooled ids
        (but not of the sequence `routed`) and the means of its float features. Floats go through BatchNorm."""
        valid = batch["valid"]
        floats = [batch[f.name].reshape(len(valid), -1) for f in self.schema.features
                  if not f.is_id and f.sequence is None and f.role in MODEL_ROLES]
        parts = [self.batch_norm("dense.norm", torch.cat(floats, 1), valid)] if floats else []
        for sequence in self.schema.max_length:
            pooled = self.pooled(sequence, batch) if sequence != routed else None
            floats = [batch[f.name].reshape(*batch[f.name].shape[:2], -1) for f in self.schema.events(sequence)
                      if not f.is_id]
            if pooled is not None:
                parts.append(pooled)
            if floats:
                mean = history_mean(torch.cat(floats, -1), batch[sequence + ".length"])
                parts.append(self.batch_norm(sequence + ".dense.norm", mean, valid))
        return parts
