"""Rows of the terms of use, vouchers and socket tickets."""

from gateway.errors import Problem
from gateway.spec.operation import Access, Operation, Reply
from schemas.api.access import (
    AdminVoucher,
    CodeBody,
    TermsShown,
    TermsStatus,
    Ticket,
    VoucherApplied,
    Vouchers,
    VoucherStatus,
)
from schemas.api.answers import Success

P = Problem
_TERMS = "Terms of use"
_VOUCHERS = "Vouchers"
_CODE = (P.VOUCHER_REQUIRED,)

OPERATIONS = (
    Operation(
        method="get",
        path="/api/terms/check",
        name="checkTerms",
        tag=_TERMS,
        summary="Whether the caller has accepted the terms of use",
        nobody=P.NO_CALLER,
        terms=False,
        words="Never refused for terms that are not accepted.",
        replies={200: Reply("Which version counts, and every yes of the caller's.", TermsStatus)},
    ),
    Operation(
        method="post",
        path="/api/terms/accept",
        name="acceptTerms",
        tag=_TERMS,
        access=Access.WRITE,
        summary="Accept the terms of use",
        nobody=P.NO_CALLER,
        terms=False,
        words="As often as you like: the first yes to a version counts. Never refused for terms that are not accepted.",
        body=TermsShown,
        body_required=False,
        body_example={"version": "1.0.0"},
        replies={200: Reply("It is kept.", Success, example={"success": True})},
        problems=(P.NOT_JSON, P.BAD_BODY, P.TERMS_CHANGED),
    ),
    Operation(
        method="post",
        path="/api/voucher",
        name="createVoucher",
        tag=_VOUCHERS,
        access=Access.ADMIN,
        summary="Make a voucher, good for 30 days",
        body=CodeBody,
        body_example={"code": "SPRING-2026"},
        replies={200: Reply("The voucher.", AdminVoucher)},
        problems=(*_CODE, P.VOUCHER_INVALID, P.VOUCHER_CODE, P.VOUCHER_TAKEN),
    ),
    Operation(
        method="put",
        path="/api/voucher",
        name="redeemVoucher",
        tag=_VOUCHERS,
        access=Access.WRITE,
        summary="Redeem a voucher",
        words="Raises a restricted user to one who may make videos. A code counts once a user.",
        body=CodeBody,
        body_example={"code": "SPRING-2026"},
        replies={
            200: Reply("Applied.", VoucherApplied),
            202: Reply("Recorded, not decided yet: `GET /api/voucher` tells when it is.", VoucherApplied),
        },
        problems=(
            *_CODE,
            P.RATE,
            P.VOUCHER_USED,
            P.VOUCHER_INVALID,
            P.VOUCHER_INACTIVE,
            P.VOUCHER_EXPIRED,
            P.BLOCKED,
            P.NOT_RECORDED,
            P.DAMAGED,
        ),
    ),
    Operation(
        method="get",
        path="/api/voucher",
        name="getVoucherStatus",
        tag=_VOUCHERS,
        summary="The caller's role, and the voucher that the user redeemed last",
        replies={200: Reply("`null` where there is none.", VoucherStatus)},
    ),
    Operation(
        method="delete",
        path="/api/voucher/{code}",
        name="deactivateVoucher",
        tag=_VOUCHERS,
        access=Access.ADMIN,
        summary="Let nobody redeem a voucher any more",
        words="Who has redeemed it keeps what it gave.",
        replies={200: Reply("The voucher as it is now.", AdminVoucher)},
        problems=(P.NO_VOUCHER,),
    ),
    Operation(
        method="get",
        path="/api/vouchers",
        name="listVouchers",
        tag=_VOUCHERS,
        access=Access.ADMIN,
        summary="Every voucher, newest first, at most a hundred",
        replies={200: Reply("The vouchers.", Vouchers)},
    ),
    Operation(
        method="post",
        path="/api/live/ticket",
        name="makeTicket",
        tag="Live",
        summary="A ticket that opens one socket or event stream",
        words="For clients that can't send a header there. Good once, for `expiresInSeconds`, for the caller's own "
        "events; what it opened ends with the credential that it was made with.",
        replies={200: Reply("The ticket.", Ticket)},
        problems=(P.RATE,),
    ),
)
