"""Experiments on a finished evaluation: can its figures be trusted?"""
