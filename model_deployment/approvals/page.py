"""The page: versions, who may do what next, and a form for each thing that the caller may do.

It has no script. Who signs in is known by a cookie of the proxy in front, which a browser sends
along with whatever page asks; so a form has to show that this page sent it.
"""

from collections.abc import Callable

from flask import Blueprint, Response, render_template, request
from werkzeug.datastructures import MultiDict

from credit_risk.access.policy import AccessDenied
from credit_risk.access.roles import Permission
from credit_risk.registry.errors import ApprovalRejected, NoSuchVersion
from credit_risk.scoring.stored import ModelRefused
from model_deployment.approvals.actions import ACTIONS, MAX_REASON, Action, Desk
from model_deployment.approvals.routes import check_proven, parsed
from model_deployment.approvals.versions import overview
from model_deployment.http.access import refused
from model_deployment.http.asking import ENTRY, asking, note
from model_deployment.http.problem import Problem

PAGE = "/"
STYLE = "/static/approvals.css"
FORM = "application/x-www-form-urlencoded"
POLICY = (
    "default-src 'none'; style-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
PERMISSIONS: dict[str, Permission] = {
    PAGE: "versions",
    **{f"/{action.name}": action.permission for action in ACTIONS},
}
_SHOWN_HISTORY = 25
# What is shown after an action; the address has the word only, so that no link can have the page
# say something else.
_DONE = {
    "proposal": "The version is proposed.",
    "first-approval": "Your approval is noted. It takes somebody else's as well.",
    "approval": "The version is Production.",
    "rollback": "The earlier version is Production again.",
    "adopted": "The version is adopted, which counts as your proposal.",
    "training": "A training was started. Its version will be in the list once it is done.",
}


def blueprint(desk: Desk) -> Blueprint:
    """Return the page, and what its forms send to."""
    page = Blueprint("page", __name__)

    @page.get(PAGE)
    def show() -> str:
        """Return the page."""
        note("versions")
        return _page(desk, done=_DONE.get(request.args.get("done", ""), ""))

    for action in ACTIONS:
        page.add_url_rule(f"/{action.name}", action.name, _view(desk, action), methods=["POST"])
    return page


def _view(desk: Desk, action: Action) -> Callable[[], tuple[str, int] | Response]:
    def act() -> tuple[str, int] | Response:
        note(action.name)
        _check_own_form()
        check_proven()
        try:
            wanted = parsed(action, lambda model: model.model_validate(_fields(request.form)))
            done = desk.do(action, asking(), wanted)
        except Problem as problem:
            return _page(desk, failed=problem.detail), problem.status
        except (ApprovalRejected, ModelRefused, NoSuchVersion) as error:
            return _page(desk, failed=Problem(409, "", str(error)).detail), 409
        # Relative, for the page may be below a path of a proxy.
        return Response(status=303, headers={"Location": f"./?done={done.word}"})

    return act


def _check_own_form() -> None:
    """Refuse a form that does not come from a page of this origin.

    The access policy has refused what says that it comes from elsewhere. What says nothing passes
    there, for programs say nothing; a browser that posts a form does.
    """
    if request.mimetype != FORM:
        raise Problem(415, "unsupported-type", f"Forms are sent as {FORM}.")
    says = request.headers.get("Origin") or request.headers.get("Sec-Fetch-Site") == "same-origin"
    if not says:
        detail = "A form does not say which page it comes from. Programs use the API."
        denied = AccessDenied(403, "foreign-origin", detail, asking())
        raise refused(denied, request.environ[ENTRY])


def _fields(form: MultiDict[str, str]) -> dict[str, str]:
    """Return the fields of a form; of one that came twice, the first."""
    return form.to_dict()


def _page(desk: Desk, *, done: str = "", failed: str = "") -> str:
    found = overview(desk.registry, desk.log, needs_two=desk.needs_two)
    return render_template(
        "versions.html",
        caller=asking(),
        overview=found,
        history=found.history[:_SHOWN_HISTORY],
        needs_two=desk.needs_two,
        done=done,
        failed=failed,
        max_reason=MAX_REASON,
    )
