"""The bodies of terms of use, vouchers and socket tickets. Members in snake_case are OpenV's own."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from schemas.access import Voucher
from schemas.accounts import Role
from schemas.ids import number_of
from schemas.instants import Instant
from schemas.shape import shape

# Safe in a path, and the same to every eye: nothing that a form, a chat or a mail would change on its way.
VOUCHER_CODE = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"


@shape
class TermsYes:
    """A yes to one version."""

    version: str
    accepted_at: Instant


@shape
class TermsStatus:
    """``hasAccepted``: the version that counts now; ``required``: whether the API refuses who has not."""

    has_accepted: bool
    required: bool
    version: str
    accepted_at: Instant | None = None
    history: tuple[TermsYes, ...] = ()


@shape
class TermsShown:
    """``version``: the one that the person was shown; left out, the one that counts now."""

    version: str | None = None


@shape
class Ticket:
    """Good for one socket or event stream, within that time."""

    ticket: str
    expires_in_seconds: int


@shape
class VoucherDocument:
    """A voucher, as whoever has its code may see it."""

    id: int
    code: str
    created_at: Instant
    updated_at: Instant
    expires_at: Instant
    is_active: bool


@shape
class AdminVoucher(VoucherDocument):
    """A voucher, as admins see it: ``createdBy`` is the user id of the admin who made it."""

    created_by: str


@shape
class Vouchers:
    """Newest first, at most a hundred."""

    vouchers: tuple[AdminVoucher, ...]


class _Body(BaseModel):
    """OpenV answers ``null`` where there is nothing, and does not leave it out."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def plain(self) -> dict[str, Any]:
        """As JSON data."""
        return self.model_dump(mode="json", by_alias=True)


class CodeBody(_Body):
    """``code``: exactly as it was given; capitals count."""

    code: Annotated[str, Field(pattern=VOUCHER_CODE)]


class VoucherStatus(_Body):
    """``role``: what the caller may do now; the others: the voucher that the user redeemed last."""

    role: Role
    voucher_used: str | None = None
    voucher_used_at: Instant | None = None
    voucher_details: VoucherDocument | None = None


class VoucherUser(_Body):
    """The user's row after the voucher, with what the identity provider has told of the person."""

    user_id: str
    role: Role
    voucher_used: str
    voucher_used_at: Instant | None = None
    email: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    profile_image_url: str | None = None


class VoucherApplied(_Body):
    """``user`` is left open where the database does not answer just now."""

    message: str
    user: VoucherUser | None = None


def voucher_document(voucher: Voucher) -> VoucherDocument:
    """For the user who redeemed it."""
    return VoucherDocument(**_members(voucher))


def admin_voucher(voucher: Voucher) -> AdminVoucher:
    """For an admin."""
    return AdminVoucher(**_members(voucher), created_by=voucher.created_by)


def _members(voucher: Voucher) -> dict[str, Any]:
    return {
        "id": number_of(voucher.code, voucher.created_at),
        "code": voucher.code,
        "created_at": voucher.created_at,
        "updated_at": voucher.updated_at,
        "expires_at": voucher.expires_at,
        "is_active": voucher.is_active,
    }
