"""Columns as codes and names: what a plain loop over their values gives, of every type that anndata writes."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from livelatent.atlas.columns import no_column, obs_column, text_codes, text_or_none

COLUMNS = {
    "categories": pd.Series(pd.Categorical(["b", "a", None, "", "b", "c"], categories=["c", "", "b", "a", "unused"])),
    "ordered": pd.Series(pd.Categorical(["lo", "hi", "lo"], categories=["lo", "mid", "hi"], ordered=True)),
    "categories of whole numbers": pd.Series(pd.Categorical([10, 2, None, 10, 3])),
    "categories of numbers": pd.Series(pd.Categorical([1.5, 2.0, None, 1.5])),
    "categories of single numbers": pd.Series(pd.Categorical(np.array([0.1, 2, 0.1], np.float32))),
    "categories of truth values": pd.Series(pd.Categorical([True, False, None, True])),
    "nothing but missing": pd.Series(pd.Categorical([None, None])),
    "no cell": pd.Series(pd.Categorical([])),
    "text": pd.Series(["b", "", "a", None, "é <b>", "b"], dtype=object),
    "nullable text": pd.Series(["b", "", None, "a"], dtype="string"),
    "whole numbers": pd.Series([10, 9, -3, 10]),
    "small whole numbers": pd.Series([10, 9, 3, 10], dtype=np.uint8),
    "numbers": pd.Series([0.25, np.nan, 3.0, -1e30]),
    "single numbers": pd.Series([0.1, np.nan, 3.0], dtype=np.float32),
    "truth values": pd.Series([True, False, True]),
    "nullable whole numbers": pd.Series([2**40, None, 7], dtype="Int64"),
    "nullable whole numbers, all there": pd.Series([2, 3, 7], dtype="UInt8"),
    "nullable truth values": pd.Series([True, None, False], dtype="boolean"),
    "nullable truth values, all there": pd.Series([True, False], dtype="boolean"),
}


def text_of_each(column: pd.Series) -> list[str | None]:
    """The slow way: the text of one value after the other."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        kinds = [*column.cat.categories, ""]
        return [str(kinds[code]) or None for code in column.cat.codes]
    return [None if gone else str(value) or None for value, gone in zip(column, column.isna(), strict=True)]


@pytest.mark.parametrize("name", COLUMNS)
def test_every_value_has_the_text_that_a_loop_gives_it(name: str) -> None:
    column = COLUMNS[name]
    codes, names = text_codes(column)
    assert [(*names, None)[code] for code in codes] == text_of_each(column) == text_or_none(column).tolist()
    assert len(set(names)) == len(names) and codes.dtype == np.int8


@given(st.lists(st.one_of(st.none(), st.text(max_size=3), st.sampled_from(["a", "b"])), max_size=40), st.booleans())
def test_any_text_survives(values: list[str | None], as_categories: bool) -> None:
    column = pd.Series(values, dtype=object)
    if as_categories:
        column = column.astype("category")
    codes, names = text_codes(column)
    assert [(*names, None)[code] for code in codes] == [value or None for value in values]


def test_names_are_in_the_categories_order_or_sorted() -> None:
    assert text_codes(COLUMNS["categories"])[1] == ("c", "b", "a", "unused")
    assert text_codes(COLUMNS["text"])[1] == ("a", "b", "é <b>")


@pytest.mark.parametrize("n", [127, 128, 129, 32_768, 32_769])
def test_codes_are_as_small_as_they_go(n: int) -> None:
    codes, names = text_codes(pd.Series(pd.Categorical(np.arange(n))))
    assert (codes == np.arange(n)).all() and names[-1] == str(n - 1)
    assert codes.dtype.itemsize == (1 if n <= 128 else 2 if n <= 32_768 else 4)


@pytest.mark.parametrize("name", COLUMNS)
def test_numbers_stay_numbers_and_all_else_becomes_codes(name: str) -> None:
    column = COLUMNS[name]
    found = obs_column(column)
    if isinstance(column.dtype, pd.CategoricalDtype) or "text" in name:
        codes, names = text_codes(column)
        assert found.names == names and (found.values == codes).all()
        return
    wanted = [np.nan if value is pd.NA else value for value in column.astype(object)]
    assert found.names is None and np.array_equal(found.values.astype(float), np.array(wanted, float), equal_nan=True)
    assert column.hasnans or found.values.dtype == getattr(column.dtype, "numpy_dtype", column.dtype)


@pytest.mark.parametrize(
    ("asked", "meant"), [("Donor", "'donor'"), ("cell_typ", "'cell_type'"), ("donorr", "'donor'"), ("zzz", None)]
)
def test_a_name_that_is_nearly_there_is_said(asked: str, meant: str | None) -> None:
    said = str(no_column("a.zarr", "obs", asked, ["cell_type", "donor", "age"]))
    assert f'a.zarr: obs has no "{asked}".' in said and "cell_type, donor, age" in said
    assert (f"Did you mean {meant}?" in said) if meant else ("Did you mean" not in said)
