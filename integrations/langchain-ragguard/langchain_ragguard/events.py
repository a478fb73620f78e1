"""What the guard did, for LangChain's callbacks and `astream_events`."""

from __future__ import annotations

from typing import Any

from langchain_core.callbacks import Callbacks, adispatch_custom_event, dispatch_custom_event
from langchain_core.runnables.config import RunnableConfig, ensure_config, get_callback_manager_for_config

from ragguard.types import GuardedResult

EVENT = "ragguard"
"""Name of the custom event that each guarded query dispatches."""


def tell(result: GuardedResult, callbacks: Callbacks) -> None:
    """Dispatch the event to the run that these callbacks belong to; without a run there is nobody to tell."""
    if config := _within_a_run(callbacks):
        dispatch_custom_event(EVENT, _report(result), config=config)


async def atell(result: GuardedResult, callbacks: Callbacks) -> None:
    """As `tell`."""
    if config := _within_a_run(callbacks):
        await adispatch_custom_event(EVENT, _report(result), config=config)


def _within_a_run(callbacks: Callbacks) -> RunnableConfig | None:
    config = ensure_config({"callbacks": callbacks} if callbacks else None)
    return config if get_callback_manager_for_config(config).parent_run_id else None


def _report(result: GuardedResult) -> dict[str, Any]:
    """Ids, decisions and reasons; no text of a document or a query, since logs outlive what they are about."""
    return {
        "kept": [hit.document.id for hit in result.kept],
        "not_kept": [
            {
                "id": verdict.document_id,
                "action": verdict.action,
                "defense": verdict.defense,
                "reason": verdict.reason,
                "suspicion": verdict.suspicion,
            }
            for verdict in result.verdicts
            if verdict.action != "keep"
        ],
        "contests": len(result.contests),
        "query_findings": [finding.kind for finding in result.query_findings],
        "degraded": list(result.degraded),
    }
