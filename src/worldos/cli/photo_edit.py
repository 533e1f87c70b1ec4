"""The demo's work: one photo in, one edited photo out. Runs in workers, so it stands on Pillow alone.

Real edits that people make: turn it as its EXIF tag says, fit it into 1600 pixels, stretch its contrast, sharpen, save.
"""

from __future__ import annotations

import io
import os
import time

EDGE_PIXELS = 1600
THUMB_PIXELS = 220
QUALITY = 85
SHEET_COLUMNS = 6


def edit(photo: bytes) -> tuple[bytes, bytes, str, float]:
    """Return the edited photo and its thumbnail as JPEG, the node that did it, and how many seconds it took."""
    from PIL import Image, ImageFilter, ImageOps  # noqa: PLC0415 - the worker loads it, the command does not

    began = time.perf_counter()
    with Image.open(io.BytesIO(photo)) as opened:
        image = ImageOps.exif_transpose(opened).convert("RGB")
    image.thumbnail((EDGE_PIXELS, EDGE_PIXELS), Image.Resampling.LANCZOS)
    image = ImageOps.autocontrast(image, cutoff=1)
    image = image.filter(ImageFilter.UnsharpMask(radius=2, percent=80))
    thumb = image.copy()
    thumb.thumbnail((THUMB_PIXELS, THUMB_PIXELS), Image.Resampling.LANCZOS)
    took_s = time.perf_counter() - began
    return _jpeg(image), _jpeg(thumb), os.environ.get("WORLDOS_NODE", "?"), took_s


def contact_sheet(thumbs: list[bytes]) -> bytes:
    """Return one JPEG with all thumbnails, in their order."""
    from PIL import Image  # noqa: PLC0415

    rows = -(-len(thumbs) // SHEET_COLUMNS)
    cell = THUMB_PIXELS + 12
    sheet = Image.new("RGB", (SHEET_COLUMNS * cell, rows * cell), (24, 24, 27))
    for place, data in enumerate(thumbs):
        with Image.open(io.BytesIO(data)) as thumb:
            left = place % SHEET_COLUMNS * cell + (cell - thumb.width) // 2
            top = place // SHEET_COLUMNS * cell + (cell - thumb.height) // 2
            sheet.paste(thumb, (left, top))
    return _jpeg(sheet)


def _jpeg(image: object) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=QUALITY, optimize=True)  # type: ignore[attr-defined]
    return out.getvalue()
