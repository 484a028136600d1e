"""DIN in facet and in tools/peers/din_torch.py give the same losses and gradients: every option of docs/din.md, on data in
which one sequence shares three of its five fields with the target and the other one of two, with
bags and floats, padded rows, empty and short histories, weights. Then both train for twenty steps in double.
Usage: din_golden.py FACET [NAME…]   NAME: only the cases whose name contains it"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "support"))
from golden import FACET, FACET_DOUBLE, PERTURB, main  # noqa: E402
from din_torch import DIN  # noqa: E402

SWITCHES = [
    "", "softmax=true", "attention=[20]", "attention=[24,9]", "attention=[24,9,5] softmax=true",
    "attention_activation=sigmoid", "attention_activation=prelu", "attention_activation=relu attention=[24,9]",
    "attention_activation=none", "batch_norm=true", "activation=dice", "activation=tanh batch_norm=true",
    "activation=dice batch_norm=true softmax=true attention=[16,16]", "mlp=[]"]


def cases():
    for switch in SWITCHES:
        yield FACET, "din", switch.split(), ["data.max_length=50"], PERTURB
        yield FACET_DOUBLE, "din", switch.split(), [], PERTURB
    for program in (FACET, FACET_DOUBLE):
        yield program, "din", [], ["data.max_length=50"], 0
        yield program, "din", ["softmax=true"], ["data.max_length=1"], PERTURB


main(DIN, cases(), "din")
