"""Metric learning with labels: what is embedded (``head``), the losses over it (``losses``), and their flags (``flags``)."""
