"""One row per attack: an instance to put through the promises that every attack makes."""

from nets import smooth_cnn

from robustkit.attacks import (
    APGD,
    DDN,
    FAB,
    FGSM,
    FMN,
    MIFGSM,
    PGD,
    Foolbox,
    HopSkipJump,
    Noise,
    Patch,
    SigmaZero,
    SparseRS,
    Square,
    SquarePGD,
    Transfer,
)
from robustkit.attacks.base import Attack
from robustkit.model.classifier import Classifier

ROWS: list[Attack] = [
    *(Noise(norm=norm, eps=0.2, restarts=3) for norm in Noise.norms),
    *(FGSM(norm=norm, eps=0.2) for norm in FGSM.norms),
    *(PGD(norm=norm, eps=0.2, steps=5, restarts=2) for norm in PGD.norms),
    *(MIFGSM(norm=norm, eps=0.2, steps=5) for norm in MIFGSM.norms),
    *(APGD(norm=norm, eps=0.2, steps=8) for norm in APGD.norms),
    *(APGD(norm=norm, eps=0.2, steps=8, loss="dlr", targets=2) for norm in ("Linf", "L1")),
    *(Square(norm=norm, eps=0.2, queries=20) for norm in Square.norms),
    *(SquarePGD(norm=norm, eps=0.2, queries=5, steps=5, restarts=2) for norm in SquarePGD.norms),
    *(FAB(norm=norm, eps=0.2, steps=3, restarts=3) for norm in FAB.norms),
    FAB(eps=0.2, steps=3, targets=2, restarts=2),
    *(FMN(norm=norm, eps=0.2, steps=8, restarts=3) for norm in FMN.norms),
    *(SigmaZero(norm=norm, eps=8, steps=20, restarts=3) for norm in SigmaZero.norms),
    Patch(eps=3, steps=8, restarts=2),
    *(SparseRS(norm=norm, eps=8, queries=20) for norm in SparseRS.norms),
    DDN(eps=0.2, steps=8, restarts=3),
    *(HopSkipJump(norm=norm, eps=0.2, steps=2, looks=6) for norm in HopSkipJump.norms),
    *(Transfer(surrogate=Classifier(smooth_cnn(seed=3)), norm=norm, eps=0.2) for norm in Transfer.norms),
    Foolbox(attack="LinfDeepFoolAttack", eps=0.2),
    Foolbox(attack="LinfPGD", eps=0.2, options=(("steps", 3),)),
]
