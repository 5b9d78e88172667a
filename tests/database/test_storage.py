"""Arrays come back as they were, files are whole, and regions do not share a place."""

import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from obstore.store import MemoryStore

from seda.database.regions import Region
from seda.database.storage import (
    NotStoredError,
    RegionalStorage,
    StorageKeyError,
    StorageUrlError,
    UnstorableArrayError,
    storages,
)
from seda.settings import Settings

_PLAIN = st.sampled_from(["?", "u1", "<i8", ">i4", "f2", "f8", "M8[us]", "<U3", "S5", "c8"])


@pytest.fixture
def storage(tmp_path: Path) -> RegionalStorage:
    return RegionalStorage(Region.EU, (tmp_path / "eu place").as_uri())


def _settings(tmp_path: Path, **urls: str) -> Settings:
    return Settings(_env_file=None, home=tmp_path / "home", **urls)


@hypothesis_settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    stored=st.dictionaries(
        st.text(max_size=5),
        arrays_of.arrays(_PLAIN, arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0)),
        max_size=4,
    )
)
def test_any_plain_arrays_come_back(storage, stored: dict[str, np.ndarray]) -> None:
    storage.put_arrays("a/b", stored)
    read = storage.get_arrays("a/b")
    assert list(read) == list(stored)
    for name, array in stored.items():
        assert (read[name].dtype, read[name].shape) == (array.dtype, array.shape)
        assert read[name].tobytes() == array.tobytes()
        assert read[name].flags.aligned
        assert not read[name].flags.writeable


def test_strided_arrays_come_back(storage) -> None:
    matrix = np.arange(12).reshape(3, 4)
    storage.put_arrays("m", {"columns": matrix.T, "every other": matrix[:, ::2]})
    read = storage.get_arrays("m")
    assert np.array_equal(read["columns"], matrix.T)
    assert np.array_equal(read["every other"], matrix[:, ::2])


@pytest.mark.parametrize(
    "array", [np.array([{}], object), np.array(["a"], object), np.zeros(2, [("a", "i4")])]
)
def test_objects_and_records_are_refused_and_leave_nothing(storage, array) -> None:
    with pytest.raises(UnstorableArrayError):
        storage.put_arrays("a", {"fine": np.zeros(2), "not": array})
    assert not storage.exists("a")
    assert storage.list() == []


def test_keys_are_listed_found_and_deleted(storage) -> None:
    for key in ["runs/2/x", "runs/1/x", "running", "other"]:
        storage.put_arrays(key, {})
    assert storage.list() == ["other", "running", "runs/1/x", "runs/2/x"]
    assert storage.list("runs") == ["runs/1/x", "runs/2/x"]
    assert storage.list("nothing") == []
    assert storage.exists("runs/1/x")
    storage.delete("runs/1/x")
    storage.delete("runs/1/x")
    assert not storage.exists("runs/1/x")
    with pytest.raises(NotStoredError, match="runs/1/x"):
        storage.get_arrays("runs/1/x")
    with pytest.raises(NotStoredError):
        storage.get_arrays("runs")


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../eu", "a/../../b", "a//b", "a/", "."])
def test_keys_stay_inside_the_storage(storage, key: str) -> None:
    with pytest.raises(StorageKeyError):
        storage.put_arrays(key, {})
    with pytest.raises(StorageKeyError):
        storage.get_arrays(key)


@pytest.mark.parametrize(
    "content", [b"", b"abc", b"\xff" * 80, b"arrays1\n" + b"\x40" * 99, b"\0" * 64]
)
def test_other_files_are_refused(storage, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "eu place" / "x").write_bytes(content)
    with pytest.raises(UnstorableArrayError):
        storage.get_arrays("x")


def test_a_file_that_was_cut_short_is_refused(storage, tmp_path: Path) -> None:
    storage.put_arrays("x", {"a": np.arange(1000)})
    file = tmp_path / "eu place" / "x"
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(UnstorableArrayError):
        storage.get_arrays("x")


def test_a_store_elsewhere_behaves_as_the_local_one(storage) -> None:
    # obstore's own memory store stands for S3: the same calls, no network.
    storage._store, storage._folder = MemoryStore(), None
    storage.put_arrays("x/y", {"a": np.arange(1000), "b": np.zeros((0, 3))})
    read = storage.get_arrays("x/y")
    assert np.array_equal(read["a"], np.arange(1000))
    assert read["b"].shape == (0, 3)
    assert storage.list("x") == ["x/y"]
    with pytest.raises(NotStoredError):
        storage.get_arrays("z")
    storage.delete("x/y")
    assert not storage.exists("x/y")


def test_arrays_outlive_the_replacement_of_their_file(storage) -> None:
    storage.put_arrays("x", {"a": np.zeros(100_000)})
    before = storage.get_arrays("x")["a"]
    storage.put_arrays("x", {"a": np.ones(100_000)})
    assert not before.any()
    assert storage.get_arrays("x")["a"].all()
    storage.delete("x")
    assert not before.any()


def test_a_reader_never_sees_half_a_file(storage) -> None:
    storage.put_arrays("x", {"a": np.full(400_000, 0)})
    done = threading.Event()

    def write() -> None:
        for number in range(1, 30):
            storage.put_arrays("x", {"a": np.full(400_000, number)})
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        array = storage.get_arrays("x")["a"]
        assert len(array) == 400_000
        assert (array == array[0]).all()
    writer.join()


def test_each_region_has_its_own_folder_by_default(tmp_path: Path) -> None:
    made = storages(_settings(tmp_path))
    assert [storage.region for storage in made.values()] == [Region.GLOBAL, Region.EU]
    made[Region.EU].put_arrays("x", {})
    assert (tmp_path / "home" / "storage" / "eu" / "x").exists()
    assert not made[Region.GLOBAL].exists("x")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("file:///tmp/seda", "file:///tmp/seda/"),
        ("file:///tmp/seda", "file:///tmp/x/../seda"),
        ("file:///tmp/seda", "file:///tmp/seda/eu"),
        ("s3://bucket/seda/eu", "s3://bucket/seda"),
        ("s3://bucket", "s3://bucket/"),
    ],
)
def test_regions_never_share_a_place(tmp_path: Path, one: str, other: str) -> None:
    urls = {"storage_url": one, "eu_storage_url": other}
    local = str(tmp_path)
    urls = {name: url.replace("/tmp", local) for name, url in urls.items()}
    with pytest.raises(StorageUrlError, match="its own"):
        storages(_settings(tmp_path, **urls))


def test_a_region_may_live_in_s3(tmp_path: Path) -> None:
    made = storages(
        _settings(tmp_path, storage_url="s3://seda/global", eu_storage_url="s3://seda/eu")
    )
    assert [storage.url for storage in made.values()] == ["s3://seda/global", "s3://seda/eu"]
    with pytest.raises(StorageKeyError):
        made[Region.EU].put_arrays("../global/x", {})


@pytest.mark.parametrize("url", ["relative/folder", "/tmp/x", "ftp://host/x", "s3://", "file://"])
def test_other_urls_are_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(StorageUrlError, match="SEDA_EU_STORAGE_URL"):
        storages(_settings(tmp_path, eu_storage_url=url))
