"""An array that zarrs codes, in threads, whatever Zarr's own setting is.

Zarr knows one pipeline for a whole process (`codec_pipeline.path`), looked at whenever an array is opened. Setting it
even for a moment would change what another thread opens meanwhile, and two threads that set it and set it back in turn
would leave it changed for good; so the pipeline is given to the one array instead.
"""

import copy
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zarr

if TYPE_CHECKING:
    from livelatent.atlas.opening import Place

__all__ = ["on_zarrs"]


def on_zarrs(array: "zarr.Array[Any]", place: "Place | None" = None, *, in_order: bool = False) -> "zarr.Array[Any]":
    """The same array, read and written by zarrs.

    Parameters
    ----------
    place
        Where its store lies. A remote one's arrays are given back as they are: zarrs reads folders only, so Zarr's own
        pipeline reads there.
    in_order
        Write the chunks of a shard one after another: threads leave them in the order in which they happen to end,
        so that equal stores differ in their bytes. (32 M u16 values: 0.12 s of CPU either way.)
    """
    if place is not None and not isinstance(place, Path):
        return array
    from zarrs import ZarrsCodecPipeline

    # A copy: whoever holds the array as it was opened keeps Zarr's own.
    coded = copy.copy(array.async_array)
    pipeline = ZarrsCodecPipeline.from_array_metadata_and_store(coded.metadata, coded.store_path.store)
    if in_order and pipeline.impl is not None:
        # As `from_array_metadata_and_store` makes it, but that the number of threads is not the process's setting.
        one_by_one = type(pipeline.impl)(
            json.dumps(coded.metadata.to_dict()),
            store_config=coded.store_path.store,
            validate_checksums=True,
            num_threads=1,
        )
        pipeline = dataclasses.replace(pipeline, impl=one_by_one)
    # Zarr has no way to name the pipeline of one array: it is a field of a frozen class.
    object.__setattr__(coded, "codec_pipeline", pipeline)
    return zarr.Array(coded)
