"""Who may ask: with the token, under an address of ours, from our own page; and what the page itself may reach."""

import pytest
from starlette.websockets import WebSocketDisconnect

AWAY = "127.0.0.1:9"
ORIGIN = "http://127.0.0.1:8010"
LIVE = "ws://127.0.0.1:8010/api/live?model=tiny"
PATHS = ["/", "/main.js", "/api/status", "/nothing"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Cookie": "dfpage_8010=wrong"}])
def test_nothing_is_answered_without_the_token(client_of, path, headers):
    response = client_of(AWAY, headers=headers).get(path)
    assert response.status_code == 403
    assert "printed" in response.text
    assert "secret" not in response.text


@pytest.mark.parametrize("path", ["/api/score", "/api/audio", "/api/speech", "/api/rows"])
def test_nor_is_anything_taken_in(client_of, path):
    assert client_of(AWAY, headers={"Origin": ORIGIN}).post(path, content=b"audio").status_code == 403


def test_the_token_becomes_a_cookie_and_leaves_the_address(client_of):
    client = client_of(AWAY, headers={})
    response = client.get("/?token=secret")
    assert (response.status_code, response.headers["location"]) == (303, "/")
    cookie = response.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert client.get("/").status_code == 200
    assert client.get("/?token=wrong").status_code == 200  # the cookie counts
    assert client_of(AWAY, headers={}).get("/?token=wrong").status_code == 403
    assert client_of(AWAY, headers={}).get("/main.js?token=secret").status_code == 403  # the first page alone takes it


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8010", "127.0.0.1", "127.0.0.1:80", "127.0.0.1.evil.example:8010"]
)
def test_a_rebound_name_is_refused_even_with_the_token(client_of, host):
    client = client_of(AWAY)
    assert client.get("/", headers={"Host": host}).status_code == 403
    assert client.get("/", headers={"Host": "LOCALHOST:8010"}).status_code == 200
    with pytest.raises(WebSocketDisconnect), client.websocket_connect(f"ws://{host}/api/live?model=tiny"):
        pass


@pytest.mark.parametrize("origin", [None, "null", "http://evil.example", "http://127.0.0.1:8011", "http://127.0.0.1"])
def test_the_cookie_is_worth_nothing_from_another_page(client_of, origin):
    headers = {"Cookie": "dfpage_8010=secret"} | ({} if origin is None else {"Origin": origin})
    client = client_of(AWAY, headers=headers)
    assert client.post("/api/rows", content=b"[]").status_code == 403
    with pytest.raises(WebSocketDisconnect), client.websocket_connect(LIVE):
        pass


def test_it_is_from_our_own(client_of):
    client = client_of(AWAY, headers={"Cookie": "dfpage_8010=secret", "Origin": ORIGIN})
    assert client.post("/api/rows", content=b"[]").status_code == 200
    with client.websocket_connect(LIVE) as live:
        live.send_text("no rate")
        assert "rate_hz" in live.receive_json()["error"]


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_forbids_other_origins(client_of, path):
    headers = client_of(AWAY).get(path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    addresses = set(policy["connect-src"].split()) - {"'self'"}
    assert {address.split("://")[1] for address in addresses} == {"127.0.0.1:8010", "localhost:8010"}
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")
    assert headers["cache-control"] == "no-store"
