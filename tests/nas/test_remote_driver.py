"""What a driver on a cluster says where it cannot begin: Ray keeps that with the job, for everybody."""

from __future__ import annotations

import pytest

from nas.remote.driver import REFUSED, main
from workers.errors import UserError
from workers.invitation import Invitation

PLACE = "postgresql://me:correct-horse@host/searches"


@pytest.mark.parametrize("error", [UserError(f"{PLACE} is away"), RuntimeError(f"cannot reach {PLACE}")])
def test_no_password_is_in_what_ray_keeps(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def found() -> Invitation:
        raise error

    monkeypatch.setattr(Invitation, "found", found)
    code = main()
    said = "".join(capfd.readouterr())
    assert "correct-horse" not in said
    assert "postgresql://me:***@host/searches" in said
    if isinstance(error, UserError):
        assert (code, said.startswith(REFUSED)) == (2, True)
    else:
        assert (code, said.startswith("Traceback")) == (1, True)
