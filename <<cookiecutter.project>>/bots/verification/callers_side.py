"""Says what a change does to those who call the service, from the contract that it packed and main's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from bots.decoding import DECODE_ERRORS, describe_decode_error
from bots.dvc import lockfile
from bots.evidence import Interface
from bots.verdict.interface import compare_interfaces, parse_contract
from bots.verification.collection import CollectionError, name_contract

if TYPE_CHECKING:
    from bots.dvc.lockfile import Lock
    from bots.verdict.interface import Contract
    from bots.verification.collection import Collected
    from bots.verification.main_side import Main

LARGEST: Final = 20 << 20


class _NoContract(Exception):
    """A side has no contract that can be read; the message says why."""


def describe_interface(collected: Collected, main: Main) -> Interface | None:
    """Describe what callers send and get after the merge, and how that differs; None where nothing was made."""
    bundle, files = collected.bundle, main.files
    if bundle is None or not bundle.lock.stages:
        return None
    if main.lock.stages and not lockfile.find_changed_outputs(main.lock, bundle.lock):
        return None
    path = name_contract(files)
    try:
        now = _load_contract(collected, bundle.lock, path)
    except _NoContract as error:
        return Interface(unknown=f"this change's {error}")
    if main.model is None:
        return compare_interfaces(None, now)
    try:
        return compare_interfaces(_load_contract(collected, main.lock, path), now)
    except _NoContract as error:
        found = compare_interfaces(None, now)
        return msgspec.structs.replace(found, unknown=f"main's {error}")


def _load_contract(collected: Collected, lock: Lock, path: str) -> Contract:
    """Load a side's contract, which its dvc.lock names by digest. Raises `_NoContract`."""
    try:
        found = collected.files.find_output(lock, path)
        if found.stat().st_size > LARGEST:
            raise _NoContract(f"{path} is larger than {LARGEST >> 20} MiB")
        return parse_contract(found.read_bytes())
    except DECODE_ERRORS as error:
        raise _NoContract(f"{path} is not a contract: {describe_decode_error(error)[:300]}") from error
    except (CollectionError, OSError) as error:
        raise _NoContract(f"{path} cannot be read: {str(error)[:300]}") from error
