"""Downloads from a server on this machine: whole, interrupted, changed and broken ones."""

import hashlib
import threading

import pytest
import torch
from file_server import serving

from thingsvision.errors import WeightsError
from thingsvision.zoo.downloads import cache_folder, download

CONTENT = bytes(torch.arange(3_000_000, dtype=torch.int32).view(torch.uint8).tolist()[:2_500_000])
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch home"))
    with serving(CONTENT) as running:
        yield running


def kept():
    return sorted(file.name for file in cache_folder().iterdir())


def interrupt(server, url, **expected):
    server.breaks_after = 1_000_000
    with pytest.raises(WeightsError, match="1000000 of 2500000 bytes; another try goes on"):
        download(url, **expected)
    server.breaks_after = None
    assert "weights.pth.part" in kept() and "weights.pth" not in kept()


def test_a_file_is_fetched_once(server):
    for _ in range(2):
        assert download(server.url(), DIGEST).read_bytes() == CONTENT
    assert server.asked == [None] and kept() == ["weights.pth"]
    assert download(server.url("other"), name="mine.pth") == cache_folder() / "mine.pth"


def test_an_interrupted_download_goes_on(server):
    interrupt(server, server.url())
    assert download(server.url()).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=1000000-"] and kept() == ["weights.pth"]


def test_a_digest_stands_in_for_a_stamp(server):
    server.stamp = None
    interrupt(server, server.url(), sha256=DIGEST)
    assert download(server.url(), DIGEST).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=1000000-"]


def test_without_stamp_and_digest_it_begins_anew(server):
    server.stamp = None
    interrupt(server, server.url())
    assert download(server.url()).read_bytes() == CONTENT
    assert server.asked == [None, None]


def test_a_server_without_ranges_begins_anew(server):
    interrupt(server, server.url())
    server.ranges = False
    assert download(server.url()).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=1000000-"]


def test_a_file_that_changed_meanwhile_is_fetched_whole(server):
    interrupt(server, server.url())
    server.content, server.stamp = CONTENT[::-1], '"second"'
    assert download(server.url()).read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("tells_size", [True, False])
def test_a_part_that_is_the_whole(server, tells_size):
    server.tells_size = tells_size
    cache_folder().mkdir(parents=True)
    (cache_folder() / "weights.pth.part").write_bytes(CONTENT)
    assert download(server.url(), DIGEST).read_bytes() == CONTENT
    assert server.asked == ["bytes=2500000-"] + ([] if tells_size else [None])


def test_a_part_of_something_else_is_found_out_and_the_next_try_succeeds(server):
    cache_folder().mkdir(parents=True)
    (cache_folder() / "weights.pth.part").write_bytes(b"\0" * 1000)
    with pytest.raises(WeightsError, match="not what was expected: the hash"):
        download(server.url(), DIGEST)
    assert kept() == []
    assert download(server.url(), DIGEST).read_bytes() == CONTENT


def test_both_kinds_of_digests_are_checked(server):
    good, bad = f"x-{DIGEST[:8]}.pth", "x-01234567.pth"
    assert download(server.url(good)).read_bytes() == CONTENT
    with pytest.raises(WeightsError, match=f"{DIGEST}, which should begin with 01234567"):
        download(server.url(bad))
    with pytest.raises(WeightsError, match=f"{DIGEST}, which should begin with {'0' * 64}"):
        download(server.url(), "0" * 64)
    assert kept() == [good]


def test_a_kept_file_is_checked_again(server):
    download(server.url())
    with pytest.raises(WeightsError, match="not what was published at.*Delete it"):
        download(server.url(), "0" * 64)
    named = cache_folder() / "x-01234567.pth"
    named.write_bytes(CONTENT)
    with pytest.raises(WeightsError, match="not what its name says"):
        download(server.url(named.name))


@pytest.mark.parametrize("content", [b"<!DOCTYPE html><html>Sign in</html>", b""])
def test_a_page_in_place_of_the_file_is_not_kept(server, content):
    server.content = content
    with pytest.raises(WeightsError, match="text, which begins '<!DOCTYPE|it is empty"):
        download(server.url())
    assert kept() == []


def test_a_missing_file_names_where_to_put_it(server):
    server.content, server.status = b"no", 404
    with pytest.raises(WeightsError) as caught:
        download(server.url())
    text = str(caught.value)
    assert "404 Not Found" in text and str(cache_folder() / "weights.pth") in text
    assert server.url() in text and "weights=" in text
    assert kept() == []


def test_two_at_once_do_not_mix(server):
    found, errors = [], []

    def fetch():
        try:
            found.append(download(server.url()).read_bytes())
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=fetch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and found == [CONTENT] * 4
    assert kept() == ["weights.pth"]
