"""`livelatent doctor`, `copy` and `info` on the shell: what they say, and with which exit code."""

import json

import pytest
from typer.testing import CliRunner

from livelatent.cli import app
from serving import KEY, SECRET, http_server, s3_server


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_a_sound_store_is_well(own_atlas):
    done = run("doctor", own_atlas.path)
    assert done.exit_code == 0 and done.stdout == f"{own_atlas.path}: all is well.\n"
    done = run("doctor", own_atlas.path, "--json")
    assert json.loads(done.stdout) == {"store": str(own_atlas.path), "damaged": False, "findings": []}


def test_damage_is_named_with_its_place_and_ends_in_1(own_atlas):
    (own_atlas.path / "X" / "data" / "c" / "3").unlink()
    done = run("doctor", own_atlas.path)
    assert done.exit_code == 1 and "damaged  X/data/c/3: the file is missing." in done.stdout
    done = run("doctor", own_atlas.path, "--json")
    assert done.exit_code == 1
    (finding,) = json.loads(done.stdout)["findings"]
    assert finding["where"] == "X/data/c/3" and finding["is_damage"] and finding["remedy"].startswith("Copy the store")


def test_what_is_untidy_ends_in_0_and_is_mended(own_atlas):
    (own_atlas.path.parent / ".tiny.zarr.0123abcd.partial").mkdir()
    done = run("doctor", own_atlas.path)
    assert done.exit_code == 0 and "untidy" in done.stdout and "(--mend)" in done.stdout
    done = run("doctor", own_atlas.path, "--mend")
    assert done.exit_code == 0 and "all is well" in done.stdout


def test_a_store_that_is_not_there_is_damage(tmp_path):
    done = run("doctor", tmp_path / "none.zarr")
    assert done.exit_code == 1 and "there is no store" in done.stdout


def test_a_store_is_copied_to_a_bucket_looked_at_and_fetched(own_atlas, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    with s3_server() as served:
        monkeypatch.setenv("AWS_ENDPOINT_URL", served.url)
        served.client().create_bucket(Bucket="shell")
        done = run("copy", own_atlas.path, "s3://shell/blood.zarr")
        assert done.exit_code == 0 and done.stdout == "s3://shell/blood.zarr: 607 cells.\n"
        facts = json.loads(run("info", "s3://shell/blood.zarr", "--json").stdout)
        assert facts["cells"] == 607 and facts["store"] == "s3://shell/blood.zarr"
        assert facts["journal"]["folder"] is None and facts["elements"][0]["name"] == "X"
        back = tmp_path / "back" / "blood.zarr"
        assert run("copy", "s3://shell/blood.zarr", back, "--json").exit_code == 0
        assert run("copy", "s3://shell/blood.zarr", back).exit_code == 1
    assert run("doctor", back).exit_code == 0


@pytest.mark.parametrize("command", ["info --json", "doctor", "labels log", "labels undo"])
def test_no_command_shows_a_token(own_atlas, command):
    with http_server(own_atlas.path.parent, token="T0KEN") as served:
        for address in (
            f"{served.url}/tiny.zarr?token=T0KEN",
            f"{served.url.replace('//', '//ann:PASSW@')}/x?token=BAD",
        ):
            done = run(*command.split(), address)
            assert not {word for word in ("T0KEN", "PASSW", "BAD") if word in done.output + str(done.exception)}
