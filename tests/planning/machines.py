"""A machine with round constants, whose predictions can be computed by hand."""

from __future__ import annotations

import dataclasses

from hardpairs.planning.machine import (
    EncoderRates,
    ListRate,
    LossRates,
    Machine,
    MiningRates,
    ProductRate,
)

MINING = MiningRates(
    top_k=50,
    products=tuple(
        ProductRate(width, block, "float32", width * 1e-10 * (2 if block == 256 else 1))
        for width in (64, 768)
        for block in (256, 1024)
    ),
    row_scan=1e-9,
    column_scan=5e-10,
    unit=1e-9,
    rounding=1e-9,
    ordering=1e-9,
    float_product=1e-11,
    lists=(
        ListRate(128, 4e-5, 1e-5, 1e-5, 5e-6, 2e-6, 1e-6),
        ListRate(1536, 6e-5, 1e-5, 3e-5, 5e-6, 2e-6, 1e-6),
    ),
    writing=1e-6,
    hashing=1e-9,
    compared=0.1,
    compared_rows=16_384,
)
ENCODER = EncoderRates("ViT-B-32", 512, 512, 151_000_000, 0.02, 0.1, 1e6, 2e7)
MACHINE = Machine(
    description={"date": "2026-11-30", "processor": "made"},
    threads=1,
    free_memory=16 << 30,
    process_bytes=400 << 20,
    read_rate=1e9,
    write_rate=5e8,
    network_rate=1e9,
    mining=MINING,
    loss=LossRates(1e-8, 1e-11),
)
WITH_MODEL = dataclasses.replace(MACHINE, encoder=ENCODER)
