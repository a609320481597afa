"""Signs the registry's records with a key that only the deploying jobs have, and checks signatures by the public keys.

Signatures are Ed25519 (RFC 8032). The private key is the secret REGISTRY_KEY of the environments that deploy; the
public ones stand in a file of the repository, a line each, so that a key can be followed by another.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from bots.errors import BotsError
from bots.naming import ALONE, Naming

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEYS: Final = ".github/registry.keys"
VARIABLE: Final = "REGISTRY_KEY"
SIGNATURE: Final = re.compile(r"ed25519 (?P<key>[0-9a-f]{16}) (?P<value>[A-Za-z0-9+/]{86}==)")
_LINE = re.compile(r"ed25519 (?P<public>[A-Za-z0-9+/]{43}=)(?: .*)?")


class SigningError(BotsError):
    """A key is missing or no key; the message says where and what to do."""


@dataclass(frozen=True)
class PublicKeys:
    """The public keys that records may be signed by: name to the key's bytes."""

    keys: Mapping[str, bytes]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the file of public keys: `ed25519 KEY`, then anything; `#` begins a comment. Raises `SigningError`."""
        found: dict[str, bytes] = {}
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            known = _LINE.fullmatch(line)
            if known is None:
                raise SigningError(
                    f"{KEYS}, line {number}: not a public key; `python -m bots key` writes such a line"
                )
            public = base64.b64decode(known["public"])
            found[name_key(public)] = public
        return cls(found)

    def find_fault(self, signature: str | None, payload: bytes) -> str | None:
        """Find why a signature does not vouch for a payload; None where it does."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        if signature is None:
            return "has no signature"
        found = SIGNATURE.fullmatch(signature)
        if found is None:
            return "has a signature that cannot be read"
        public = self.keys.get(found["key"])
        if public is None:
            return f"is signed by the key {found['key']}, which is not in main's {KEYS}"
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(base64.b64decode(found["value"]), payload)
        except (InvalidSignature, ValueError):
            return "has a signature of something else"
        return None


@dataclass(frozen=True)
class Signer:
    """A private key, and its public half."""

    key: Ed25519PrivateKey

    @classmethod
    def from_secret(cls, secret: str | None, naming: Naming = ALONE) -> Self:
        """Take the key from the secret's text. Raises `SigningError`, which never quotes it.

        `naming` is of the project or one of its models, for the name of its workflow.
        """
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        if not (secret or "").strip():
            raise SigningError(
                f"{VARIABLE} is not set, so nothing that is written here would be believed: start this by Actions > "
                f"{naming.title_workflow('Deploy')} > Run workflow, or by a comment (docs/commands.md), where the key "
                "is; if none was ever made, `python -m bots key` makes one (docs/release.md)"
            )
        assert secret is not None
        try:
            seed = base64.b64decode(secret.strip(), validate=True)
            return cls(Ed25519PrivateKey.from_private_bytes(seed))
        except (binascii.Error, ValueError) as error:
            raise SigningError(
                f"{VARIABLE} is not a key: expected the 44 characters that `python -m bots key` printed"
            ) from error

    @classmethod
    def create(cls) -> Self:
        """Create a new key."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return cls(Ed25519PrivateKey.generate())

    @property
    def public(self) -> bytes:
        """The public key's bytes."""
        return self.key.public_key().public_bytes_raw()

    @property
    def name(self) -> str:
        """What signatures call the key."""
        return name_key(self.public)

    def format_secret(self) -> str:
        """Format the private key as the secret's text."""
        return base64.b64encode(self.key.private_bytes_raw()).decode()

    def format_line(self, comment: str) -> str:
        """Format the public key as its line of the file."""
        return f"ed25519 {base64.b64encode(self.public).decode()} {comment}\n"

    def sign(self, payload: bytes) -> str:
        """Sign a payload: `ed25519 KEY SIGNATURE`."""
        return f"ed25519 {self.name} {base64.b64encode(self.key.sign(payload)).decode()}"


def name_key(public: bytes) -> str:
    """Name a public key by the beginning of its SHA-256."""
    return hashlib.sha256(public).hexdigest()[:16]
