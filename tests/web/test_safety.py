"""What must hold on every page: who may send its forms, what it may load, and that nobody keeps it."""

import re

import pytest
from structlog.testing import capture_logs

from pantheon.users.make_link import make_link
from pantheon.users.one_time_links import Purpose
from pantheon.users.rights import Role
from tests.installation import TEST, Installation
from tests.web.conftest import Visit
from tests.web.test_top_up_page import start

STRICT = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "frame-src 'none'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


async def test_forms_without_the_sessions_token_or_from_elsewhere_are_refused(
    installation: Installation, visit: Visit
) -> None:
    ada = await visit(await installation.person(Role.OWNER))
    path = await start(ada)
    for target in (
        "/sign-out",
        "/wallet/top-ups",
        f"{path}/pay",
        f"{path}/cancel",
        "/account/password",
        "/account/api-keys",
        f"/account/api-keys/{ada.person.id}/revoke",
        f"/admin/users/{ada.person.id}/grant",
    ):
        for answer in (
            await ada.client.post(target, data={"amount": "1"}),
            await ada.post(target, csrf_token="0" * 64),
            await ada.post(target, {"Origin": "https://evil.example"}),
            await ada.post(target, {"Origin": "null"}),
            await ada.client.post(target, content=b"\x00\xff", headers={"Content-Type": "multipart/form-data"}),
        ):
            assert answer.status_code in (400, 403), target
            assert answer.headers["content-type"].startswith("text/html")
    assert (await ada.get("/wallet")).status_code == 200


async def test_no_page_loads_anything_of_others(installation: Installation, visit: Visit) -> None:
    """T-206."""
    owner = await visit(await installation.person(Role.OWNER))
    path = await start(owner)
    token = await make_link(installation.runtime.database, Purpose.SIGN_IN, user_id=owner.person.id, actor=TEST)
    reset = await make_link(installation.runtime.database, Purpose.PASSWORD_RESET, user_id=owner.person.id, actor=TEST)
    pages = ["/wallet", path, "/account", "/admin", f"/admin/users/{owner.person.id}", "/nowhere"]
    public = ["/sign-in", f"/sign-in/link/{token}", f"/password-reset/{reset}", "/sign-up"]

    answers = [await owner.get(page) for page in pages] + [await installation.client.get(page) for page in public]
    for answer in answers:
        assert not re.search(r"""(src|href|action)="(https?:)?//""", answer.text), answer.url
        assert re.findall(r"<script[^>]*>", answer.text) == re.findall(r'<script src="/static/[^>]*>', answer.text)
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=", answer.text)
        policy = answer.headers["content-security-policy"]
        if answer.url.path == path:
            policy = policy.replace(f" {installation.sandbox.base_url}", "")
        assert policy == STRICT
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_only_the_page_that_pays_with_real_keys_loads_stripe(
    installation: Installation, visit: Visit, with_keys: str
) -> None:
    """T-206."""
    ada = await visit(await installation.person(), with_keys)
    path = await start(ada)

    answer = await ada.get(path)

    outside = re.findall(r'<script src="(https://[^"]+)"', answer.text)
    assert len(outside) == 1 and re.fullmatch(r"https://js\.stripe\.com/[a-z]+/stripe\.js", outside[0])
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self' https://js.stripe.com https://*.js.stripe.com;" in policy
    assert "connect-src 'self' https://api.stripe.com;" in policy
    assert "frame-src https://js.stripe.com https://*.js.stripe.com https://hooks.stripe.com;" in policy
    assert "unsafe" not in policy
    assert answer.headers["cache-control"] == "no-store"
    for page in ("/wallet", "/account"):
        other = await ada.get(page)
        assert "stripe.com" not in other.text and other.headers["content-security-policy"] == STRICT


async def test_errors_are_pages_for_people_and_problem_details_for_programs(installation: Installation) -> None:
    page = await installation.client.get("/nowhere")
    assert page.status_code == 404
    assert page.headers["content-type"].startswith("text/html")
    assert "Not Found" in page.text and "<code>not_found</code>" in page.text
    for path in ("/api/v1/nowhere", "/webhooks/nowhere"):
        problem = await installation.client.get(path)
        assert (problem.status_code, problem.headers["content-type"]) == (404, "application/problem+json")
    wrong = await installation.client.request("DELETE", "/wallet")
    assert wrong.status_code == 405
    assert wrong.headers["content-type"].startswith("text/html")


async def test_the_address_of_a_forms_answer_leads_back_to_the_form(installation: Installation, visit: Visit) -> None:
    ada = await visit(await installation.person())
    path = await start(ada)
    for answered, above in (
        ("/wallet/top-ups", "/wallet"),
        (f"{path}/pay", path),
        (f"{path}/cancel", path),
        ("/account/password", "/account"),
        ("/account/api-keys", "/account"),
        ("/sign-out", "/"),
    ):
        answer = await ada.get(answered)
        assert (answer.status_code, answer.headers["location"]) == (303, above)


async def test_a_broken_page_says_no_more_than_that(installation: Installation, visit: Visit) -> None:
    ada = await visit(await installation.person())
    installation.execute("ALTER TABLE grants RENAME TO hidden_grants")

    with capture_logs() as logs:
        answer = await ada.get("/wallet")

    installation.execute("ALTER TABLE hidden_grants RENAME TO grants")
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["unexpected_error"]
    assert answer.status_code == 500
    assert "Something went wrong on our side." in answer.text
    assert "hidden_grants" not in answer.text and "SELECT" not in answer.text
    assert answer.headers["content-security-policy"] == STRICT


async def test_a_part_that_fails_leaves_the_page_as_it_is(installation: Installation, visit: Visit) -> None:
    ada = await visit(await installation.person())
    htmx = {"HX-Request": "true"}

    looked = await ada.get("/wallet/top-ups/1/status", headers=htmx)
    sent = await ada.client.post("/sign-out", headers=htmx)

    assert (looked.status_code, looked.headers["hx-reswap"]) == (404, "none")
    assert (sent.status_code, sent.headers["hx-retarget"]) == (403, "#notice")
    assert 'role="alert"' in sent.text
    ended = await installation.client.get("/wallet/quote", headers={**htmx, "HX-Current-URL": "http://x/account?a=b"})
    assert (ended.status_code, ended.headers["hx-redirect"]) == (401, "/sign-in?next=/account")


async def test_no_host_header_breaks_a_page(
    installation: Installation, visit: Visit, subtests: pytest.Subtests
) -> None:
    ada = await visit(await installation.person())
    for host in ("[", "[::1", "a b", "", "x" * 5000, "\\", "a@b:c"):
        with subtests.test(host[:9]):
            for path in ("/wallet", "/sign-in", "/nowhere", "/wallet/top-ups", "/static/style.css"):
                assert (await ada.get(path, headers={"Host": host})).status_code < 500
            for headers in ({"HX-Request": "true", "HX-Current-URL": f"http://{host}/wallet"}, {}):
                assert (await installation.client.get("/wallet", headers=headers)).status_code in (303, 401)


BODIES = [
    (
        "multipart/form-data; boundary=x; charset=utf-7",
        b'--x\r\nContent-Disposition: form-data; name="email"\r\n\r\n+2AA-\r\n--x--',
    ),
    (
        "multipart/form-data; boundary=x",
        b'--x\r\nContent-Disposition: form-data; name="email"; filename="a"\r\n\r\nb\r\n--x--',
    ),
    ("multipart/form-data", b"nothing"),
    ("application/x-www-form-urlencoded", b"email=%ED%A0%80%00&password=%FF"),
    ("application/x-www-form-urlencoded", b"&".join([b"a=1"] * 20_000)),
    ("application/json", b'{"email": 1}'),
    ("text/plain; charset=nonsense", b"\xff\x00"),
]


async def test_no_body_breaks_a_page(installation: Installation, visit: Visit, subtests: pytest.Subtests) -> None:
    ada = await visit(await installation.person(Role.OWNER))
    for kind, body in BODIES:
        headers = {"Content-Type": kind, "Origin": installation.url, "X-CSRF-Token": ada.csrf_token}
        for path in (
            "/sign-in",
            "/sign-up",
            "/password-reset/x",
            "/wallet/top-ups",
            "/account/password",
            "/account/api-keys",
            f"/admin/users/{ada.person.id}/grant",
        ):
            with subtests.test(kind, path=path):
                assert 400 <= (await ada.client.post(path, content=body, headers=headers)).status_code < 500


async def test_static_files_may_be_kept_for_ever_at_an_address_of_their_content(installation: Installation) -> None:
    page = (await installation.client.get("/sign-in")).text
    addresses = re.findall(r'"(/static/[^"]+)"', page)
    assert len(addresses) >= 4
    for address in addresses:
        answer = await installation.client.get(address)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        plain = await installation.client.get(address.partition("?")[0])
        assert plain.headers["cache-control"] == "no-cache"
    for outside in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/", "/static/vendor"):
        assert (await installation.client.get(outside)).status_code == 404


async def test_pages_are_no_part_of_the_api(installation: Installation) -> None:
    paths = (await installation.client.get("/api/v1/openapi.json")).json()["paths"]
    assert not {"/", "/wallet", "/admin", "/sign-in", "/static/style.css", "/wallet/top-ups/1"} & set(paths)
