"""Intermediate-task training of XLM-R on TPU pods, and its zero-shot scores."""

__version__ = "0.1.0"
