"""DiffuMIN in facet and in tools/peers/diffumin_torch.py give the same losses and gradients: every preset and every
switch of docs/diffumin.md, on data with padded rows, empty, short and tied histories, repeated users, weights, bags and
floats.
Then both train for twenty steps on the same batches and noise, in double (there they stay together), and score a split.
Usage: diffumin_golden.py FACET [NAME…]   NAME: only the cases whose name contains it"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "support"))
from golden import FACET, FACET_DOUBLE, PERTURB, main  # noqa: E402
from diffumin_torch import DiffuMIN  # noqa: E402

# Every switch, changed alone from a preset, with parameters that are all random. L = 50 keeps all behaviours; the cases
# in CUT have L = 120 and few places.
SWITCHES = {
    "diffumin": [
        "diff_param=eps_bug", "diff_param=eps", "diff_start=uniform", "diff_train_t=sampled", "diff_sg_target=false",
        "diff_out_proj=false", "diff_token_flag=false", "diff_bptt=0", "diff_bptt=3", "steps=1", "steps=4", "levels=10",
        "use_aux=false", "cl_mask_same_user=false", "skip_empty=false", "st_encoder=reuse_diff", "subseq_len=20",
        "attn_scale=nkv", "use_mask=false", "agg_denom=len", "agg_weight=relu", "agg_weight=one", "qr_sign=lapack",
        "chan_bias=false", "head_inputs=paper", "head_inputs=code", "logit_bn=true", "recent_first=false",
        "route_st=0.5", "channels=1", "channels=7", "n_layers=1", "heads=5", "batch_norm=false", "activation=prelu",
        "orthogonal=false", "r_star=interest", "r_star=noise", "r_star=none", "lambda_contrast=0", "lambda_diffusion=0",
        "channels=1 agg_weight=one", "orthogonal=false r_star=noise use_aux=false"],
    "diffumin_paper": ["orthogonal=false", "r_star=interest", "agg_weight=sim", "route_st=0.5", "diff_sg_target=true", "diff_out_proj=true", "diff_bptt=1"],
    "diffumin_official": [
        "diff_param=x0", "diff_param=eps", "diff_start=tprime", "diff_sg_target=true", "diff_out_proj=true",
        "diff_token_flag=true", "diff_bptt=1", "diff_bptt=4", "use_aux=true", "cl_mask_same_user=true",
        "skip_empty=true", "st_encoder=plain", "attn_scale=head", "use_mask=true", "agg_denom=sel",
        "qr_sign=pos", "topk_mode=frac", "head_inputs=paper", "logit_bn=false", "orthogonal=false", "r_star=noise",
        "r_star=none"],
}
CUT = {
    "diffumin": ["", "topk_mode=abs", "topk_scope=routed", "use_mask=false", "top_p=0.35", "route_st=0.5",
                 "route_st=0.5 agg_weight=one topk_scope=routed", "route_st=2 agg_weight=relu"],
    "diffumin_paper": ["", "topk_mode=abs"],
    "diffumin_official": ["", "topk_mode=frac top_p=0.35", "topk_scope=routed"],
}


def cases():
    for preset in SWITCHES:
        for switch in ["", *SWITCHES[preset]]:
            yield FACET, preset, switch.split(), ["data.max_length=50"], PERTURB
        for switch in CUT[preset]:
            yield FACET, preset, ["top_k=9", *switch.split()], [], PERTURB
        yield FACET_DOUBLE, preset, [], ["data.max_length=50"], PERTURB
        yield FACET_DOUBLE, preset, ["top_k=9"], [], PERTURB
    for program in (FACET, FACET_DOUBLE):  # all embeddings 0: the guard replaces every column of every sample
        yield program, "diffumin", ["embedding_init=0"], ["data.max_length=50"], 0
    yield FACET_DOUBLE, "diffumin", [], ["data.max_length=50"], 0


main(DiffuMIN, cases(), "diffumin")
