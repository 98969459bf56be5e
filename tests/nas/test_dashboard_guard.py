"""What the dashboard lets in: hosts, origins, paths, sizes and tokens, tried with what has broken others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from asking import HERE, HOST, Answer, ask
from histories import JOB, Invented
from starlette.datastructures import Headers
from starlette.types import ASGIApp

from nas.dashboard.access import LASTS, LOGINS, Access, read_token
from nas.dashboard.application import application
from nas.dashboard.serving import Place, serve
from nas.history import Entry
from nas.log import Log
from nas.logs.sqlite import SqliteLog
from workers.artifacts import Artifacts
from workers.errors import UserError

TOKEN = "correct-horse-battery-staple-0123456789"
NAMES = ("localhost", "127.0.0.1", "[::1]")
OWN = {"origin": HERE, "content-type": "application/json", "sec-fetch-site": "same-origin"}
BEARER = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}

# What got out of MLflow's artifact routes over the years (CVE-2023-1177, -6015, -6831, CVE-2024-3848 and others).
TRAVERSALS = [
    b"..",
    b"../../etc/passwd",
    b"../../../../../../etc/passwd",
    b"%2e%2e/%2e%2e/etc/passwd",
    b"%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    b"%252e%252e%252fetc%252fpasswd",
    b"..%2f..%2fetc%2fpasswd",
    b"..%5c..%5cwindows%5cwin.ini",
    b"..\\..\\windows\\win.ini",
    b"%2fetc%2fpasswd",
    b"/etc/passwd",
    b"//etc/passwd",
    b"file:///etc/passwd",
    b"file:%2f%2f%2fetc%2fpasswd",
    b"C:%5cwindows%5cwin.ini",
    b"cells-7%00.png",
    b"cells-7\x00",
    b"..%00/",
    b"....//....//etc/passwd",
    b".%2e/.%2e/etc/passwd",
    b"%c0%ae%c0%ae/etc/passwd",
    b"\xef\xbc\x8e\xef\xbc\x8e/etc/passwd",
    b"http:%2f%2fevil.example%2f#/../../etc",
    b"?/../../etc/passwd",
    b".ssh",
    b"journal.sqlite%3fmode=rwc",
]
ROUTES = [
    b"/searches/%s",
    b"/searches/%s/live",
    b"/searches/%s/enqueue",
    b"/searches/%s/stop",
    b"/searches/%s/extend",
    b"/searches/cells-7/trials/%s",
    b"/searches/cells-7/trials/%s/live",
    b"/searches/cells-7/trials/%s/drawing",
    b"/searches/cells-7/trials/%s/files",
    b"/searches/cells-7/trials/%s/files/1/traceback.txt",
    b"/searches/cells-7/trials/5/files/%s/traceback.txt",
    b"/searches/cells-7/trials/5/files/1/%s",
    b"/static/%s",
]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Log]:
    folder = tmp_path_factory.mktemp("home")
    (folder / "secret.txt").write_text("root:x:0:0")
    opened = SqliteLog(folder)
    opened.create("cells-7", {**JOB, "artifacts": {"place": str(folder)}}, {})
    epoch = opened.acquire("cells-7")
    opened.append("cells-7", epoch, [one for one in Invented(20).entries() if one.kind not in ("driver", "state")])
    Artifacts.open(str(folder)).put("cells-7", 5, 1, "traceback.txt", b"<script>alert(1)</script>")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def looking(log: Log) -> ASGIApp:
    """A dashboard that only shows."""
    return application(log, Access(None), NAMES)


@pytest.fixture(scope="module")
def steering(log: Log) -> ASGIApp:
    """A dashboard with a token."""
    return application(log, Access(TOKEN), NAMES)


def requests(log: Log) -> list[Entry]:
    return list(log.entries("cells-7", kinds=("request",)))


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8780", "", "[::2]"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "OPTIONS"])
def test_a_name_that_is_not_ours_gets_nothing_whatever_the_verb(looking: ASGIApp, host: str, method: str) -> None:
    answer = ask(looking, "/searches/cells-7", method, host=host)
    assert answer.status == 421
    assert b"96." not in answer.body


def test_the_name_must_be_said_once(looking: ASGIApp) -> None:
    assert ask(looking, "/", host=None).status == 421
    assert ask(looking, "/", headers=[("host", "evil.example")]).status == 421
    for host in ("localhost:9999", "127.0.0.1", "[::1]:8780", "LOCALHOST"):  # a tunnel ends at any port
        assert ask(looking, "/", host=host).status == 200


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
@pytest.mark.parametrize("origin", ["http://evil.example", "null", f"https://{HOST}", "http://127.0.0.1:1", HERE + "."])
def test_a_page_of_another_origin_gets_nothing_whatever_the_verb(
    steering: ASGIApp, log: Log, method: str, origin: str
) -> None:
    before = len(requests(log))
    for path in ("/searches/cells-7/stop", "/searches/cells-7"):
        answer = ask(steering, path, method, {**BEARER, "origin": origin}, b"{}")
        assert answer.status == 403
        assert "access-control-allow-origin" not in answer.headers
    assert len(requests(log)) == before


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
def test_a_request_that_a_browser_calls_foreign_changes_nothing(steering: ASGIApp, log: Log, site: str) -> None:
    before = len(requests(log))
    headers = {**BEARER, "sec-fetch-site": site, "sec-fetch-mode": "navigate"}
    assert ask(steering, "/searches/cells-7/stop", "POST", headers, b"{}").status == 403
    assert len(requests(log)) == before


def test_other_pages_may_link_here_and_load_nothing(looking: ASGIApp) -> None:
    foreign = {"sec-fetch-site": "cross-site"}
    assert ask(looking, "/", headers={**foreign, "sec-fetch-mode": "navigate"}).status == 200
    for mode in ("no-cors", "cors", "websocket"):
        assert ask(looking, "/", headers={**foreign, "sec-fetch-mode": mode}).status == 403


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_verbs_that_do_nothing_are_refused(steering: ASGIApp, method: str) -> None:
    assert ask(steering, "/searches/cells-7", method, {**BEARER, "origin": HERE}).status == 405


@pytest.mark.parametrize("payload", TRAVERSALS)
def test_no_path_leads_out_of_a_journal(steering: ASGIApp, payload: bytes) -> None:
    for route in ROUTES:
        for method in ("GET", "POST"):
            answer = ask(steering, route % payload, method, {**BEARER, "origin": HERE}, b"{}")
            assert answer.status in (404, 405), (route % payload, answer.status)
            assert b"root:" not in answer.body


def test_a_path_is_read_as_it_came(steering: ASGIApp) -> None:
    assert ask(steering, "/searches/cells-7", headers=BEARER).status == 200
    assert ask(steering, "/searches/cells%2D7", headers=BEARER).status == 404
    assert ask(steering, "/" + "a/" * 400, headers=BEARER).status == 404
    assert ask(steering, "/?" + "a" * 5000, headers=BEARER).status == 414
    words = {"state": "completed", "sort": "accuracy", "down": "1", "page": "4000", "text": "\N{DEGREE CELSIUS}" * 200}
    words |= {"have": ",".join(f"{'a' * 9}:{'0' * 12}" for _ in range(11))}  # the longest that a page asks
    assert ask(steering, f"/searches/cells-7/live?{urlencode(words)}", headers=BEARER).status == 200


def test_nothing_is_shown_before_the_login(steering: ASGIApp) -> None:
    for path in (
        "/",
        "/live",
        "/searches/cells-7",
        "/searches/nobody",
        "/searches/cells-7/trials/5/files/1/traceback.txt",
    ):
        assert ask(steering, path).status == 401
        assert ask(steering, path, headers={"authorization": "Bearer wrong"}).status == 401
        assert ask(steering, path, headers={"cookie": "nas_dashboard_8780=x; a=\x7f"}).status == 401
        assert ask(steering, f"{path}?token={TOKEN}").status == 401
    assert ask(steering, "/login").status == 200


def test_a_login_is_a_cookie_that_scripts_cannot_read(steering: ASGIApp) -> None:
    assert enter(steering, "wrong" * 8).status == 403
    answer = enter(steering, TOKEN)
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert TOKEN not in cookie
    assert ask(steering, "/", headers={"cookie": cookie.split(";")[0]}).status == 200
    foreign = ask(steering, "/login", "POST", {**OWN, "origin": "http://evil.example"}, b"{}")
    assert foreign.status == 403


def test_dashboards_on_two_ports_do_not_log_each_other_out() -> None:
    """Browsers keep the cookies of all ports of a host together, and the later of one name is the only one."""
    one, other = Access(TOKEN, port=8780), Access(TOKEN, port=8781)
    jar = {access.cookie: access.login() for access in (one, other)}
    sent = Headers({"cookie": "; ".join(f"{name}={value}" for name, value in jar.items())})
    assert one.admits(sent)
    assert other.admits(sent)


def test_a_cookie_alone_changes_nothing(steering: ASGIApp, log: Log) -> None:
    """A browser sends it with what any page asks for; which page that was, only Origin says."""
    before, cookie = len(requests(log)), enter(steering, TOKEN).headers["set-cookie"].partition(";")[0]
    sent = {"cookie": cookie, "content-type": "application/json"}
    two = [*sent.items(), ("origin", HERE), ("origin", "http://evil.example")]
    for headers in (list(sent.items()), two, two[::-1]):
        assert ask(steering, "/searches/cells-7/stop", "POST", headers, b"{}").status == 403
    assert len(requests(log)) == before
    assert ask(steering, "/searches/cells-7/extend", "POST", {**sent, "origin": HERE}, b"{}").status == 400


def test_a_login_ends_and_there_are_so_many_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    access, now = Access(TOKEN), 1000.0
    monkeypatch.setattr("nas.dashboard.access.time.monotonic", lambda: now)
    logins = [access.login() for _ in range(LOGINS + 1)]

    def admitted(secret: str) -> bool:
        return access.admits(Headers({"cookie": f"{access.cookie}={secret}"}))

    assert [admitted(one) for one in (logins[0], logins[1], logins[-1])] == [False, True, True]
    now += LASTS - 1
    assert admitted(logins[-1])
    now += 2
    assert not admitted(logins[-1])


def test_a_cookie_over_tls_is_of_this_host_and_this_channel_only(log: Log) -> None:
    app = application(log, Access(TOKEN, secure=True), NAMES, "https")
    answer = ask(app, "/login", "POST", {**OWN, "origin": f"https://{HOST}"}, json.dumps({"token": TOKEN}).encode())
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-")
    assert "; Path=/;" in cookie
    assert "; Secure" in cookie
    assert "domain" not in cookie.lower()


def enter(app: ASGIApp, token: str) -> Answer:
    return ask(app, "/login", "POST", OWN, json.dumps({"token": token}).encode())


def test_without_a_token_nothing_can_be_changed(looking: ASGIApp, log: Log) -> None:
    before = len(requests(log))
    for what in ("stop", "extend", "enqueue"):
        answer = ask(looking, f"/searches/cells-7/{what}", "POST", OWN, b'{"budget": {"trials": 5}}')
        assert answer.status == 403
        assert "without a token" in answer.text
    assert ask(looking, "/searches/cells-7/enqueue").status == 403
    assert len(requests(log)) == before


def test_with_the_token_a_search_is_stopped_extended_and_given_candidates(steering: ASGIApp, log: Log) -> None:
    for what, body, status in (
        ("stop", {}, 200),
        ("extend", {"budget": {"trials": 300}}, 200),
        ("extend", {"budget": {"trials": -1}}, 400),
        ("extend", {"budget": {"pool": 1}}, 400),
        ("extend", {"budget": {"seconds": True}}, 400),
        ("enqueue", {"candidate": {"blocks": 99}}, 400),
        ("enqueue", {"candidate": 3}, 400),
    ):
        answer = ask(steering, f"/searches/cells-7/{what}", "POST", BEARER, json.dumps(body).encode())
        assert answer.status == status, answer.text
    asked = [entry.body["kind"] for entry in requests(log)]
    assert asked == ["stop", "extend"]
    form = ask(steering, "/searches/cells-7/enqueue", headers=BEARER)
    assert "block1_operation1" in form.text


def test_only_json_of_a_bounded_size_is_read(steering: ASGIApp) -> None:
    path = "/searches/cells-7/stop"
    text = {**BEARER, "content-type": "text/plain"}  # what a form of another page can send without being asked
    assert ask(steering, path, "POST", text, b"{}").status == 415
    assert ask(steering, path, "POST", BEARER, b"[" * 60_000).status == 400
    assert ask(steering, path, "POST", BEARER, b"x" * 70_000).status == 413
    assert ask(steering, path, "POST", {**BEARER, "content-length": "99999999"}, b"{}").status == 413
    assert ask(steering, path, "POST", {**BEARER, "content-length": "-1"}, b"{}").status == 413


@pytest.mark.parametrize("path", ["/login", "/searches/cells-7/enqueue", "/searches/cells-7/extend"])
@pytest.mark.parametrize(
    "value",
    [rb'"\ud800"', b"1" + 400 * b"0", b"NaN", b"-Infinity", b"9" * 19, 20_000 * b"[", rb'{"\udfff": 1}'],
    ids=["half a character", "beyond floats", "no number", "without end", "beyond databases", "deep", "half a name"],
)
def test_what_no_file_can_hold_is_refused(steering: ASGIApp, path: str, value: bytes) -> None:
    for key in (b"token", b"candidate", b"budget"):
        answer = ask(steering, path, "POST", {**OWN, **BEARER}, b'{"%s": %s}' % (key, value))
        assert answer.status == 400


def test_every_answer_is_locked_down(looking: ASGIApp) -> None:
    for path in ("/", "/searches/cells-7", "/nowhere", "/searches/..", "/static/dashboard.js"):
        headers = ask(looking, path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["x-frame-options"] == "DENY"


def test_a_file_is_never_a_page(looking: ASGIApp) -> None:
    answer = ask(looking, "/searches/cells-7/trials/5/files/1/traceback.txt")
    assert answer.body == b"<script>alert(1)</script>"
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["content-security-policy"].startswith("sandbox")
    shown = ask(looking, "/searches/cells-7/trials/5/files").text
    assert "<script" not in shown
    assert "&lt;script&gt;alert(1)" in shown


def test_others_reach_it_only_with_a_token_and_tls(tmp_path: Path) -> None:
    pem = tmp_path / "some.pem"
    pem.touch()
    for host in ("127.0.0.1", "::1", "localhost", "127.8.8.8"):
        Place(host).check(None)
    for host in ("0.0.0.0", "192.168.1.2", "example.org", "::"):
        for place, token in ((Place(host), None), (Place(host), TOKEN), (Place(host, certificate=pem, key=pem), None)):
            with pytest.raises(UserError, match="other machines"):
                place.check(token)
        Place(host, certificate=pem, key=pem).check(TOKEN)
    with pytest.raises(UserError, match="both"):
        Place(certificate=pem).check(TOKEN)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7"])
def test_nothing_listens_for_others_without_both(
    log: Log, tmp_path: Path, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the rule alone but what stands before the socket: none is made."""
    monkeypatch.setattr("socket.socket", lambda *given: pytest.fail("it listens"))
    pem = tmp_path / "some.pem"
    pem.touch()
    for place, token in ((Place(host), TOKEN), (Place(host, certificate=pem, key=pem), None), (Place(host), None)):
        with pytest.raises(UserError, match="other machines"):
            serve(log, place, token, lambda address: pytest.fail(address))


@pytest.mark.parametrize("place", [Place(), Place("::1"), Place("0.0.0.0"), Place("::"), Place(names=("Nas.example",))])
def test_it_answers_to_the_address_that_it_announces(place: Place) -> None:
    assert place.called.lower() in place.answers_to()


def test_an_error_of_ours_is_said_without_passwords(
    log: Log, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*given: object) -> None:
        raise RuntimeError("postgresql://me:hunter2@db.example/nas went away")

    app = application(log, Access(None), NAMES)
    monkeypatch.setattr("nas.dashboard.parts.search_parts", fail)
    answer = ask(app, "/searches/cells-7")
    while answer.status == 200:  # it was being read
        answer = ask(app, "/searches/cells-7")
    assert answer.status == 500
    assert "went away" not in answer.text
    assert "postgresql://me:***@db.example/nas went away" in caplog.text
    assert "in fail" in caplog.text
    assert "hunter2" not in caplog.text


def test_a_certificate_that_is_none_is_said_before_anything_is_announced(tmp_path: Path, log: Log) -> None:
    pem = tmp_path / "some.pem"
    pem.write_text("no certificate")
    with pytest.raises(UserError, match="are no certificate and its key"):
        serve(log, Place(port=0, certificate=pem, key=pem), TOKEN, lambda address: pytest.fail(address))


def test_a_token_file_is_its_owners_alone_and_long_enough(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o644)
    with pytest.raises(UserError, match="chmod 600"):
        read_token(path)
    path.chmod(0o600)
    assert read_token(path) == TOKEN
    path.write_text("short")
    with pytest.raises(UserError, match="at least"):
        read_token(path)
