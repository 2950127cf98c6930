"""What makes a sample suspicious, against figures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from nets import generator

from robustkit.data.suspicious import features, label_errors, neighbours, out_of_fold, rms, strangeness


def test_confident_learning_gives_the_joint_counted_by_hand():
    labels = np.array([0, 0, 0, 1, 1, 1])
    shares = np.array([0.9, 0.8, 0.1, 0.3, 0.2, 0.7])  # of class 0
    errors = label_errors(np.column_stack([shares, 1 - shares]), labels)
    # thresholds 0.6 and 0.6: the third is confidently 1, the last confidently 0
    assert errors.suspect.tolist() == [False, False, True, False, False, True]
    assert errors.suggestion.tolist() == [1, 1, 1, 0, 0, 0]
    assert errors.confidence.tolist() == pytest.approx([0.9, 0.8, 0.1, 0.7, 0.8, 0.3])
    assert errors.share == pytest.approx(1 / 3)


def test_the_joint_says_how_many_labels_are_suspect_and_their_probability_says_which():
    shares = np.array([[0.9, 0.1, 0], [0.4, 0.6, 0], [0.05, 0.48, 0.47], [0.4, 0.6, 0], [0.44, 0.56, 0], [0, 0, 1]])
    # thresholds 0.45, 0.58 and 1: the second alone is confidently of another class, the third has the least likely one
    errors = label_errors(shares, np.array([0, 0, 0, 1, 1, 2]))
    assert errors.suspect.tolist() == [False, False, True, False, False, False]
    assert errors.suggestion[2] == 1


def test_predictions_for_a_sample_never_saw_its_copies():
    data, labels = np.eye(2).repeat(20, 0) + 0.3 * np.random.default_rng(0).normal(size=(40, 2)), np.arange(40) // 20
    twins = np.concatenate([data, data[:1]])
    flipped = np.concatenate([labels, [1]])
    alone = np.arange(41)
    joined = np.where(alone == 40, 0, alone)
    apart = out_of_fold(twins, flipped, joined, seed=0)
    assert apart[40] == pytest.approx(apart[0])  # one fold predicted both
    assert apart[40, 0] > 0.5


def test_features_are_no_further_apart_than_inputs_and_equally_far_where_components_suffice():
    x = torch.rand(80, 1, 8, 8, generator=generator(2))
    here, there = features(x, x[:3] + 0.01)
    assert (np.linalg.norm(here[:3] - there, axis=1) <= 0.01 + 1e-7).all()
    small, _ = features(x[:, :, :4, :4])
    distance = np.linalg.norm(small[0] - small[1])
    assert distance == pytest.approx(float(rms(x[:1, :, :4, :4], x[1:2, :, :4, :4])[0]), rel=1e-5)
    assert neighbours(here, there, count=1)[1].flatten().tolist() == [0, 1, 2]
    flat = torch.cat([x, torch.full((1, 1, 8, 8), 0.5)])
    assert strangeness(features(flat)[0])[1].argmin() == 80
