"""``/api/voucher``: admins make codes, users redeem them; ``/api/vouchers`` lists them for admins.

The voucher is looked at here, its use is decided by the ledger, so that a code counts once a user whatever races. In
OpenV's words and order. What differs: a taken code is answered 409, not 500; a voucher that has expired says so for
ever (OpenV marks it, and then calls it inactive); who holds a code is not shown which admin made it.
"""

import re
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.decisions import NotRecorded
from gateway.errors import Problem, Refused
from gateway.http.answers import raise_if_set_aside, shed
from gateway.http.bodies import read_json
from gateway.identity.guard import caller
from gateway.identity.principal import Principal
from gateway.parts import Parts, parts_of
from repo.ports import Unavailable
from schemas.access import Scope, Voucher
from schemas.accounts import Account, Role, VoucherUse
from schemas.api.access import (
    VOUCHER_CODE,
    VoucherApplied,
    Vouchers,
    VoucherStatus,
    VoucherUser,
    admin_voucher,
    voucher_document,
)
from schemas.commands import RedeemVoucher
from schemas.events import CommandAnswered, Outcome
from schemas.failures import FailureCode
from schemas.shape import to_plain

BODY_MAX = 4_096
LIFE_MS = 30 * 86_400_000
_CODE = re.compile(VOUCHER_CODE)
_TRY_AGAIN = "The voucher could not be recorded; try again"


async def create(request: Request) -> Response:
    """``POST``: a code of the admin's choice, good for thirty days."""
    parts = parts_of(request)
    admin = await caller(request, Scope.ADMIN)
    code = await _code_of(request)
    if not _CODE.fullmatch(code):
        raise Refused(Problem.VOUCHER_CODE)
    now = parts.now()
    voucher = Voucher(code=code, created_by=admin.user_id, created_at=now, updated_at=now, expires_at=now + LIFE_MS)
    if not await parts.access.create_voucher(voucher):
        raise Refused(Problem.VOUCHER_TAKEN)
    return JSONResponse(to_plain(admin_voucher(voucher)))


async def redeem(request: Request) -> Response:
    """``PUT``: 200 once the ledger has counted it; 202 where it is recorded and not decided yet."""
    parts = parts_of(request)
    principal = await caller(request, Scope.WRITE)
    shed(parts.guesses, principal.user_id, parts.now())
    code = await _code_of(request)
    await _look_at(parts, principal, code)
    append_by = parts.append_by()
    command = RedeemVoucher(
        command_id=str(uuid4()), user_id=principal.user_id, code=code, role=Role.USER, append_by=append_by
    )
    try:
        answer = await parts.decisions.ask(command, append_by=append_by)
    except NotRecorded:
        raise Refused(Problem.NOT_RECORDED, words=_TRY_AGAIN) from None
    if answer is None:
        words = "Voucher recorded; it is applied as soon as it is decided"
        return JSONResponse(VoucherApplied(message=words).plain(), status_code=202)
    _raise_if_refused(answer)
    applied = VoucherApplied(message="Voucher applied successfully", user=await _row(parts, request, code))
    return JSONResponse(applied.plain())


async def status(request: Request) -> Response:
    """``GET``: the caller's role, and the voucher that the user redeemed last."""
    parts = parts_of(request)
    principal = await caller(request)
    use = _last(await parts.store.account(principal.user_id))
    if use is None:
        return JSONResponse(VoucherStatus(role=principal.role).plain())
    voucher = await parts.access.voucher(use.code)
    told = VoucherStatus(
        role=principal.role,
        voucher_used=use.code,
        voucher_used_at=use.used_at,
        voucher_details=voucher_document(voucher) if voucher else None,
    )
    return JSONResponse(told.plain())


async def listed(request: Request) -> Response:
    """``GET /api/vouchers``, for admins."""
    parts = parts_of(request)
    await caller(request, Scope.ADMIN)
    found = await parts.access.vouchers()
    return JSONResponse(to_plain(Vouchers(vouchers=tuple(admin_voucher(one) for one in found))))


async def deactivate(request: Request) -> Response:
    """``DELETE /api/voucher/{code}``: nobody redeems it any more; who has, keeps what it gave. The voucher as it is."""
    parts = parts_of(request)
    await caller(request, Scope.ADMIN)
    voucher = await parts.access.deactivate_voucher(request.path_params["code"], parts.now())
    if voucher is None:
        raise Refused(Problem.NO_VOUCHER)
    return JSONResponse(to_plain(admin_voucher(voucher)))


async def _code_of(request: Request) -> str:
    """The code in the body, exactly as written. Raises ``Refused`` where there is none."""
    body: Any = await read_json(request, BODY_MAX, Problem.VOUCHER_REQUIRED)
    code = body.get("code") if isinstance(body, dict) else None
    if isinstance(code, str) and code.strip():
        return code
    raise Refused(Problem.VOUCHER_INVALID if code and not isinstance(code, str) else Problem.VOUCHER_REQUIRED)


async def _look_at(parts: Parts, principal: Principal, code: str) -> None:
    """What is known before the ledger is asked, in OpenV's order. Raises ``Refused``."""
    account = await parts.store.account(principal.user_id)
    if account is not None and any(use.code == code for use in account.vouchers):
        raise Refused(Problem.VOUCHER_USED)
    voucher = await parts.access.voucher(code) if _CODE.fullmatch(code) else None
    if voucher is None:
        raise Refused(Problem.VOUCHER_INVALID)
    if not voucher.is_active:
        raise Refused(Problem.VOUCHER_INACTIVE)
    if parts.now() > voucher.expires_at:
        raise Refused(Problem.VOUCHER_EXPIRED)
    if account is not None and account.blocked:
        raise Refused(Problem.BLOCKED)


def _raise_if_refused(answer: CommandAnswered) -> None:
    raise_if_set_aside(answer)
    if answer.code is FailureCode.VOUCHER_USED:
        raise Refused(Problem.VOUCHER_USED)
    if answer.outcome is not Outcome.DONE:  # it landed too late, or before the last word on the user's role
        raise Refused(Problem.NOT_RECORDED, words=_TRY_AGAIN)


async def _row(parts: Parts, request: Request, code: str) -> VoucherUser | None:
    """The user as it is now; None where that can't be known at the moment: the voucher counts all the same."""
    try:
        now = await parts.auth.of_request(request)
        account, person = await parts.store.account(now.user_id), await parts.access.person(now.user_id)
    except (Refused, Unavailable):
        return None
    uses = account.vouchers if account else ()
    return VoucherUser(
        user_id=now.user_id,
        role=now.role,
        voucher_used=code,
        voucher_used_at=next((use.used_at for use in uses if use.code == code), None),
        email=person.email if person else None,
        first_name=person.first_name if person else None,
        last_name=person.last_name if person else None,
        profile_image_url=person.image_url if person else None,
    )


def _last(account: Account | None) -> VoucherUse | None:
    return max(account.vouchers, key=lambda use: use.used_at, default=None) if account else None


ROUTES = [
    Route("/api/voucher", create, methods=["POST"]),
    Route("/api/voucher", redeem, methods=["PUT"]),
    Route("/api/voucher", status, methods=["GET"]),
    Route("/api/voucher/{code}", deactivate, methods=["DELETE"]),
    Route("/api/vouchers", listed, methods=["GET"]),
]
