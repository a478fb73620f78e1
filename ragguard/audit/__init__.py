"""The audit: one record of each decision, and deciding it again."""

from ragguard.audit.log import AuditLog, Flaw, read
from ragguard.audit.record import Record, record
from ragguard.audit.replay import Replay, replay

__all__ = ["AuditLog", "Flaw", "Record", "Replay", "read", "record", "replay"]
