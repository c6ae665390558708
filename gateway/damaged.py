"""Stored documents that nobody can read: each is named in the log, by its kind and id, without its words."""

import structlog

from repo.core.documents import DamagedDocumentError, LeftOut

NAMED_MAX = 20  # of one list: lists are asked for again and again
logger = structlog.get_logger()


def tell(error: DamagedDocumentError) -> None:
    """Into the log, without a traceback: what is wrong is in MongoDB."""
    logger.error("document_damaged", reason=str(error))


def left_out() -> LeftOut:
    """For the lists of one request: those that they leave out are told once each, and no more than so many."""
    told: set[str] = set()

    def damaged(error: DamagedDocumentError) -> None:
        if len(told) < NAMED_MAX and error.document_id not in told:
            told.add(error.document_id)
            tell(error)

    return damaged
