"""Exhibits: pictures, texts and attention maps that a training leaves for people to look at.

A task yields them by file name (`Epoch.exhibits`): `samples.png`, `samples.txt`, `attention.json`. A report shows each
under its name without the suffix, by epoch, those of one name side by side.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def picture(rows: Sequence[Tensor], scale: int = 1, gap: int = 2) -> bytes:
    """A PNG of images in rows, white between them; `rows` hold (count, 1 or 3, height, width) in [0, 1]."""
    import numpy as np
    from PIL import Image

    cells = [[(one.detach().float().cpu().clamp(0, 1) * 255).round().byte().numpy() for one in row] for row in rows]
    height, width = (max(one.shape[axis] for row in cells for one in row) for axis in (1, 2))
    columns = max(len(row) for row in cells)
    sheet = np.full((len(cells) * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for y, row in enumerate(cells):
        for x, one in enumerate(row):
            top, left = y * (height + gap), x * (width + gap)
            sheet[top : top + one.shape[1], left : left + one.shape[2]] = one.transpose(1, 2, 0)
    made = Image.fromarray(sheet)
    made = made.resize((made.width * scale, made.height * scale), Image.Resampling.NEAREST)
    written = io.BytesIO()
    made.save(written, "PNG")
    return written.getvalue()


def attention(rows: Sequence[str], columns: Sequence[str], weights: Sequence[Sequence[float]]) -> bytes:
    """A map of weights in [0, 1]: how much each of `rows` (what is written) looks at `columns` (what is read)."""
    rounded = [[round(float(weight), 4) for weight in row] for row in weights]
    return json.dumps({"kind": "attention", "rows": list(rows), "columns": list(columns), "weights": rounded}).encode()
