"""One row per training objective: an instance to put through the promises that every objective makes."""

from nets import smooth_cnn

from robustkit.attacks import PGD
from robustkit.defenses import (
    ARD,
    AWP,
    FGSMRS,
    IBP,
    MART,
    NFGSM,
    RSLAD,
    TRADES,
    AugMixJSD,
    FGSMTraining,
    Free,
    GradAlign,
    PGDTraining,
    Standard,
)

SMALL = PGD(eps=0.1, steps=2, step_size=0.04)
TEACHER = smooth_cnn(seed=5)
EVERY = {
    "ard": ARD(teacher=TEACHER, attack=SMALL, alpha=0.7, temperature=2.0),
    "rslad": RSLAD(teacher=TEACHER, attack=SMALL),
    "standard": Standard(label_smoothing=0.1),
    "pgd-at": PGDTraining(attack=SMALL),
    "fgsm": FGSMTraining(eps=0.1, clean_weight=0.3),
    "fgsm-rs": FGSMRS(eps=0.1),
    "n-fgsm": NFGSM(eps=0.1),
    "free": Free(eps=0.1, m=2),
    "trades": TRADES(attack=SMALL),
    "ibp": IBP(eps=0.1, kappa=0.4),
    "mart": MART(attack=SMALL),
    "gradalign": GradAlign(objective=FGSMRS(eps=0.1, alpha=1.0, random_start=False)),
    "awp": AWP(objective=TRADES(attack=SMALL)),
    "augmix": AugMixJSD(objective=FGSMRS(eps=0.1)),
}
