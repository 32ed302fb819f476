"""A Redis URL means one address, or says what is wrong with it."""

from __future__ import annotations

import pytest

from worksong.adapters.redis.address import Address, Tls, parse
from worksong.domain.errors import ConfigError

MEANINGS = {
    "redis://localhost": Address(nodes=(("localhost", 6379),)),
    "redis://10.0.0.7:7000/3": Address(nodes=(("10.0.0.7", 7000),), db=3),
    "redis://[::1]:7000": Address(nodes=(("::1", 7000),)),
    "redis://h/?db=2": Address(nodes=(("h", 6379),), db=2),
    "redis://:p%40ss%2Fw%23rd@h": Address(nodes=(("h", 6379),), password="p@ss/w#rd"),
    "redis://a%3Ab:secret@h": Address(nodes=(("h", 6379),), user="a:b", password="secret"),
    "redis://nopass:@h": Address(nodes=(("h", 6379),), user="nopass", password=""),
    "redis://:@h": Address(nodes=(("h", 6379),)),
    "redis://h?namespace=team%3Aa&timeout=0.5": Address(nodes=(("h", 6379),), namespace="team:a", timeout=0.5),
    "redis://h?socket_timeout=2": Address(nodes=(("h", 6379),), timeout=2.0),
    "rediss://h": Address(scheme="rediss", nodes=(("h", 6379),), tls=Tls()),
    "rediss://h?ssl_ca_certs=/ca.pem&ssl_certfile=/c.pem&ssl_keyfile=/k.pem": Address(
        scheme="rediss", nodes=(("h", 6379),), tls=Tls("/ca.pem", "/c.pem", "/k.pem")
    ),
    "rediss://h?ssl_cert_reqs=none": Address(scheme="rediss", nodes=(("h", 6379),), tls=Tls(verify=False)),
    "redis+unix:///run/my%20redis.sock?db=4": Address(scheme="redis+unix", path="/run/my redis.sock", db=4),
    "redis+unix://u:p@/run/redis.sock": Address(scheme="redis+unix", path="/run/redis.sock", user="u", password="p"),
    "redis+unix:///run/redis.sock?username=u&password=p": Address(
        scheme="redis+unix", path="/run/redis.sock", user="u", password="p"
    ),
    "redis+sentinel://u:p@h1:26380,h2,[fe80::1]:1/mymaster/5?sentinel_username=s&sentinel_password=t": Address(
        scheme="redis+sentinel",
        nodes=(("h1", 26380), ("h2", 26379), ("fe80::1", 1)),
        master="mymaster",
        db=5,
        user="u",
        password="p",
        sentinel_user="s",
        sentinel_password="t",
    ),
    "redis+sentinel://h/m?ssl=true&ssl_ca_certs=/ca.pem": Address(
        scheme="redis+sentinel", nodes=(("h", 26379),), master="m", tls=Tls("/ca.pem")
    ),
}

MISTAKES = {
    "": "no scheme:// is no Redis URL",
    "localhost:6379": "localhost:// is no Redis URL; write one of redis://",
    "http://h": "http:// is no Redis URL",
    "redis://": "needs a host and a port",
    "redis:///0": "needs a host and a port",
    "redis://h:0": "port from 1 to 65535",
    "redis://h:65536": "port from 1 to 65535",
    "redis://h:port": "port from 1 to 65535",
    "redis://two words": "needs a host",
    "redis://[::1": "cannot be read",
    "redis://h/one": "database in the Redis URL is not a number; write 0, 1, 2",
    "redis://h/-1": "not a number",
    "redis://h/²": "not a number",
    "redis://h/0#top": "has a '#' in it; in a password, write / as %2F",
    "redis://secret@h": "a user and no password; write redis://:password@host",
    "redis://h?color=red": "redis:// has no option 'color'; it accepts db, eviction, medic, namespace, password",
    "redis://h?ssl_ca_certs=/ca.pem": "redis:// has no option 'ssl_ca_certs'",
    "rediss://h?ssl_cert_reqs=maybe": "ssl_cert_reqs=maybe in the Redis URL is unknown; write required or none",
    "redis://h?timeout=soon": "timeout=soon in the Redis URL is no span of time",
    "redis://h?timeout=0": "no span of time",
    "redis://h?timeout=-1": "no span of time",
    "redis://h?timeout=nan": "no span of time",
    "redis://h?timeout=inf": "no span of time",
    "redis+unix://run/redis.sock": "no absolute socket path; write redis\\+unix://",
    "redis+unix://": "no absolute socket path",
    "redis+sentinel://h": "names no master to ask the sentinels for",
    "redis+sentinel://h1,,h2/m": "needs a host",
    "redis+sentinel://h/m/x": "not a number",
    "redis+sentinel://h/m?ssl_ca_certs=/ca.pem": "ssl_ca_certs says nothing without TLS; add ssl=true",
}

SHOWN = {
    "redis://:secret@h": "redis://h:6379/0",
    "redis://ann:secret@[::1]:7000/2?namespace=n": "redis://ann@[::1]:7000/2",
    "rediss://h?password=secret": "rediss://h:6379/0",
    "redis+unix://ann:secret@/run/r.sock?db=1": "redis+unix://ann@/run/r.sock?db=1",
    "redis+sentinel://:secret@h1,h2/m?sentinel_password=secret": "redis+sentinel://h1:26379,h2:26379/m/0",
}


@pytest.mark.parametrize("url", MEANINGS)
def test_a_url_means_an_address(url: str) -> None:
    assert parse(url) == MEANINGS[url]


@pytest.mark.parametrize("url", MISTAKES)
def test_a_mistake_is_named_with_its_mend(url: str) -> None:
    with pytest.raises(ConfigError, match=MISTAKES[url]):
        parse(url)


@pytest.mark.parametrize("url", SHOWN)
def test_what_is_shown_holds_no_password(url: str) -> None:
    address = parse(url)
    assert address.shown == SHOWN[url]
    assert "secret" not in repr(address)
    assert address.__rich_repr__() == [("shown", SHOWN[url])]


@pytest.mark.parametrize(
    "url",
    ["redis://:sec/ret@h", "redis://:sec#ret@h", "redis://:sec@ret@h:x", "redis://:sec[ret@h", "redis://secret@h"],
)
def test_a_password_is_not_told_by_the_error_either(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(url)
    assert "sec" not in str(caught.value) and "ret" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_shown_url_with_a_user_still_names_the_same_place() -> None:
    address = parse("redis://ann:secret@h:7000/2")
    assert parse(address.shown.replace("@", ":secret@")) == address
