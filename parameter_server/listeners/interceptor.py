"""TokenInterceptor: calls without the token go no further."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator
from typing import Any, Final, final

import grpc

from parameter_server.outcome import Outcome
from parameter_server.security import HEADER

OPEN: Final = ("/grpc.health.v1.Health/Check",)  # without a token; it says no more than that somebody listens


@final
class TokenInterceptor(grpc.ServerInterceptor):
    """Turns calls without the token away, before anything of them is read; says nothing of why."""

    def __init__(self, token: str, refused: Callable[[str], None]) -> None:
        self._expected = f"Bearer {token}".encode()
        self._refused = refused

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        if details.method in OPEN:
            return continuation(details)
        given = [value for name, value in details.invocation_metadata if name == HEADER]
        offered = given[0] if len(given) == 1 else b""
        if hmac.compare_digest(offered if isinstance(offered, bytes) else offered.encode(), self._expected):
            return continuation(details)
        return grpc.stream_unary_rpc_method_handler(self._refuse)

    def _refuse(self, _requests: Iterator[Any], context: grpc.ServicerContext) -> bytes:
        self._refused(context.peer())
        context.set_trailing_metadata((("outcome", str(Outcome.UNAUTHENTICATED)),))
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "the token is missing or wrong: use the one of this store")
        return b""  # not reached, for abort raises
