"""Draws docs/plots.png: the usual six plots of a small network that was trained adversarially on the digits."""

from __future__ import annotations

from pathlib import Path

import robustkit
from robustkit.attacks import PGD
from robustkit.defenses import PGDTraining, fit
from robustkit.loading import load_data, load_model

EPS = 0.15

net = load_model("cnn", input_shape=(1, 8, 8), num_classes=10)
fit(net, load_data("digits", split="train"), PGDTraining(attack=PGD(eps=EPS, steps=5)), epochs=8, held_out=0)
evaluation = robustkit.evaluate(net, load_data("digits", split="test"), "fast", norm="Linf", eps=EPS, limit=200)
picture = Path(__file__).with_name("plots.png")
evaluation.plot().savefig(picture, dpi=72, metadata={"Software": None})  # no version of matplotlib among the bytes
