"""One row per attack: an instance to put through the promises that every attack makes."""

from robustkit.attack import Attack
from robustkit.attacks import APGD, FGSM, PGD, Foolbox, Noise, Square

ROWS: list[Attack] = [
    *(Noise(norm=norm, eps=0.2, restarts=3) for norm in Noise.norms),
    *(FGSM(norm=norm, eps=0.2) for norm in FGSM.norms),
    *(PGD(norm=norm, eps=0.2, steps=5, restarts=2) for norm in PGD.norms),
    *(APGD(norm=norm, eps=0.2, steps=8) for norm in APGD.norms),
    APGD(eps=0.2, steps=8, loss="dlr", targets=2),
    *(Square(norm=norm, eps=0.2, queries=20) for norm in Square.norms),
    Foolbox(attack="LinfDeepFoolAttack", eps=0.2),
    Foolbox(attack="LinfPGD", eps=0.2, options=(("steps", 3),)),
]
