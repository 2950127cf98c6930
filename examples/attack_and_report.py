"""Trains a network on handwritten digits, attacks it, plots the result and writes a report that others can check."""

from __future__ import annotations

import robustkit
from robustkit.defenses import Standard, fit
from robustkit.loading import load_data, load_model

model = load_model("mlp", input_shape=(1, 8, 8), num_classes=10)
fit(model, load_data("digits", split="train"), objective=Standard(), epochs=2)

test = load_data("digits")
evaluation = robustkit.evaluate(model, test, "fast", eps=0.1, limit=100, evidence=True)
print(evaluation)
evaluation.plot().savefig("evaluation.png")
evaluation.save("report", model, name="mlp")
print("false claims:", robustkit.verify("report", model, test).false)
