"""Augmentation, alone and under adversarial training."""
