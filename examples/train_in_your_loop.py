"""TRADES inside a training loop of one's own, then AutoAttack on the network."""

from __future__ import annotations

import torch
from torch.utils.data import DataLoader

import robustkit
from robustkit.attacks import PGD
from robustkit.defenses import TRADES
from robustkit.loading import load_data, load_model

model = load_model("mlp", input_shape=(1, 8, 8), num_classes=10)
loader = DataLoader(load_data("digits", split="train").source, batch_size=64, shuffle=True)
objective = TRADES(attack=PGD(eps=0.1, steps=3, loss="kl"), beta=6.0)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for epoch in range(3):
    for x, y in loader:
        optimizer.zero_grad()
        loss = objective.loss(model, x, y)
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch}: loss {loss.item():.3f}")

x, y = next(iter(DataLoader(load_data("digits").source, batch_size=50)))
x_adv, success = robustkit.attack(model, x, y, "autoattack", eps=0.1)
print(f"{int(success.sum())} of {len(x)} broken")
