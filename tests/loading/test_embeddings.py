"""Token ids become embeddings that are attacked, with eps relative to the mean embedding norm."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import robustkit
from robustkit import ConfigurationError, InvalidEvaluation
from robustkit.data import batches


class Text(nn.Module):
    """As much of a text classifier of transformers as is asked for."""

    config = SimpleNamespace(id2label={0: "bad", 1: "good"})

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.head = nn.Embedding(20, 4, padding_idx=0), nn.Linear(4, 2)

    def get_input_embeddings(self):
        return self.embed

    def forward(self, input_ids=None, attention_mask=None, inputs_embeds=None):
        x = self.embed(input_ids) if inputs_embeds is None else inputs_embeds
        real = attention_mask[..., None].to(x.dtype)
        return SimpleNamespace(logits=self.head((x * real).sum(1) / real.sum(1)))


class ByIds(Text):
    def forward(self, input_ids=None, attention_mask=None, inputs_embeds=None):
        found = super().forward(input_ids, attention_mask, inputs_embeds)
        return found if input_ids is not None else SimpleNamespace(logits=-found.logits)


def tokens(net, count=16):
    torch.manual_seed(1)
    rows = [torch.randint(1, 20, (int(torch.randint(1, 6, ())),)) for _ in range(count)]
    made = [{"input_ids": row.tolist(), "attention_mask": [1] * len(row), "special": [0] * len(row)} for row in rows]
    with torch.no_grad():
        labels = [int(net(row[None], torch.ones(1, len(row))).logits.argmax()) for row in rows]
    return [{**sample, "label": label, "text": "a b"} for sample, label in zip(made, labels, strict=True)]


@pytest.mark.parametrize(("norm", "attack"), [("L2", "pgd:steps=5"), ("Linf", "apgd:steps=5"), ("L1", "pgd:steps=5")])
def test_a_text_is_attacked_in_its_embeddings_and_padding_stays(norm, attack):
    net = Text()
    text = robustkit.embeddings(net, tokens(net))
    found = robustkit.evaluate(text.classifier, text.data, attack, norm=norm, eps=text.eps(0.5, norm), evidence=True)
    assert found.clean_accuracy.value == 1
    assert found.robust_accuracy.value < 1
    assert text.classifier.class_names == ("bad", "good")
    assert [part.name for part in text.data.layout.parts] == ["inputs_embeds", "attention_mask"]
    (batch,) = batches(text.data, 100)
    fixed = text.data.layout.fixed(batch.x)
    made = robustkit.attacks.create(attack, norm=norm, eps=text.eps(0.5, norm))(text.classifier, batch.x, batch.y)
    assert torch.equal(made.x_adv.view(torch.int32)[fixed], batch.x.view(torch.int32)[fixed])


def test_eps_is_relative_to_the_mean_norm_of_the_vocabulary_without_padding():
    net = Text()
    text = robustkit.embeddings(net, tokens(net))
    rows = net.embed.weight.detach()[1:].double()
    mean = float(rows.norm(dim=1).mean())
    assert text.eps(0.1).most == pytest.approx(0.1 * mean, rel=1e-12)
    assert text.eps(0.1, "Linf").most == pytest.approx(0.1 * mean / math.sqrt(4), rel=1e-12)
    assert text.eps(0.1, "L1").most == pytest.approx(0.1 * float(rows.abs().sum(1).mean()), rel=1e-12)


def test_what_takes_no_embeddings_is_refused():
    net = Text()
    with pytest.raises(ConfigurationError, match="embedding of tokens, got Linear"):
        robustkit.embeddings(nn.Linear(3, 2), tokens(net))
    with pytest.raises(ConfigurationError, match="expected the same answers to inputs_embeds as to input_ids"):
        robustkit.embeddings(ByIds(), tokens(net))
    with pytest.raises(InvalidEvaluation, match="whole numbers from 0 to 19, got integer"):
        robustkit.embeddings(net, [{"input_ids": [3, 20], "attention_mask": [1, 1], "label": 0}])
