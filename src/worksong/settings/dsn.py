"""MySQL's data source names, as Go's driver writes them: `user:password@tcp(host:3306)/database?options`."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, quote

from worksong.domain.errors import ConfigError

_FORM = "user:password@tcp(host:3306)/database?parseTime=true"
_DSN = re.compile(
    r"(?:(?P<user>[^:@]*)(?::(?P<password>.*))?@)?"
    r"(?:(?P<net>[a-z0-9]+)(?:\((?P<address>[^()]*)\))?)?"
    r"/(?P<database>[^/?]+)(?:\?(?P<options>[^?]*))?"
)
_TLS = ("true", "skip-verify", "preferred", "custom")


def url_of(dsn: str, ca: str = "") -> str:
    """The same as a `mysql://` URL; raises `ConfigError`, which does not show the password.

    `ca`: the path of the authority that `tls=custom` stands for, as Valet does it.
    """
    found = _DSN.fullmatch(dsn)
    if not found:
        raise ConfigError(f"MYSQL_DSN is no data source name; write it as in {_FORM}")
    login = quote(found["user"] or "", safe="")
    if found["password"]:
        login += f":{quote(found['password'], safe='')}"
    options = dict(parse_qsl(found["options"] or ""))
    host, query = _place(found["net"] or "tcp", found["address"] or "")
    if options.get("tls", "false") in _TLS:
        query.append("ssl=on")
        if ca and options["tls"] == "custom":
            query.append(f"ssl_ca={quote(ca, safe='/')}")
    address = f"{login}@{host}" if login else host
    return f"mysql://{address}/{quote(found['database'], safe='')}{'?' if query else ''}{'&'.join(query)}"


def _place(net: str, address: str) -> tuple[str, list[str]]:
    if net == "unix":
        return "localhost", [f"unix_socket={quote(address or '/tmp/mysql.sock', safe='/')}"]
    if not net.startswith("tcp"):
        raise ConfigError(f"MYSQL_DSN names the network {net!r}, and only tcp and unix can be used; write {_FORM}")
    return address or "127.0.0.1:3306", []
