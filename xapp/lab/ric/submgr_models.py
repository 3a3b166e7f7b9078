"""The subscription manager's REST bodies: field names and ranges as its API has them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Octets = list[Annotated[int, Field(ge=0, le=255)]]


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class Endpoint(_Body):
    """Where notifications go, and from which the RMR endpoint follows."""

    Host: str = Field(min_length=1)
    HTTPPort: int = Field(ge=1, le=65535)
    RMRPort: int = Field(ge=1, le=65535)

    @property
    def rmr(self) -> str:
        """The route manager's rule: the HTTP service's name with "http" become "rmr", and the RMR port."""
        return f"{self.Host.replace('http', 'rmr')}:{self.RMRPort}"

    @property
    def notification_url(self) -> str:
        return f"http://{self.Host}:{self.HTTPPort}/ric/v1/subscriptions/response"


class Directives(_Body):
    """How the node is to be asked. Present without RMRRoutingNeeded means: no route."""

    E2TimeoutTimerValue: int = Field(ge=1, le=10)
    E2RetryCount: int | None = Field(None, ge=0, le=10)
    RMRRoutingNeeded: bool = False


DEFAULT_TIMEOUT_S, DEFAULT_TRIES = 2, 2


class AfterAction(_Body):
    SubsequentActionType: str
    TimeToWait: str = "zero"


class Action(_Body):
    ActionID: int = Field(ge=0, le=255)
    ActionType: str
    ActionDefinition: Octets = []
    SubsequentAction: AfterAction | None = None


class Detail(_Body):
    """One E2 subscription."""

    XappEventInstanceId: int = Field(ge=0, le=65535)
    EventTriggers: Octets
    ActionToBeSetupList: list[Action] = Field(min_length=1, max_length=16)


class SubscriptionParams(_Body):
    """The POST body."""

    SubscriptionId: str = ""
    ClientEndpoint: Endpoint
    Meid: str = Field(min_length=1)
    RANFunctionID: int = Field(ge=0, le=4095)
    E2SubscriptionDirectives: Directives | None = None
    SubscriptionDetails: list[Detail] = Field(min_length=1)

    @property
    def timeout_s(self) -> float:
        directives = self.E2SubscriptionDirectives
        return float(directives.E2TimeoutTimerValue if directives else DEFAULT_TIMEOUT_S)

    @property
    def tries(self) -> int:
        """First sending plus retries."""
        directives = self.E2SubscriptionDirectives
        if directives is None or directives.E2RetryCount is None:
            return DEFAULT_TRIES
        return directives.E2RetryCount + 1

    @property
    def routed(self) -> bool:
        return self.E2SubscriptionDirectives is None or self.E2SubscriptionDirectives.RMRRoutingNeeded

    def key(self) -> str:
        """Equal for bodies that differ at most in SubscriptionId."""
        return self.model_dump_json(exclude={"SubscriptionId"})


def notification(
    subscription_id: str, xapp_instance: int, e2_instance: int, cause: str = "", source: str = "", timeout: str = ""
) -> dict[str, Any]:
    """The body of one notification; `e2_instance` 0 = failed. Empty fields are left out, as the manager does."""
    instance: dict[str, Any] = {"XappEventInstanceId": xapp_instance, "E2EventInstanceId": e2_instance}
    for name, value in (("ErrorCause", cause), ("ErrorSource", source), ("TimeoutType", timeout)):
        if value:
            instance[name] = value
    return {"SubscriptionId": subscription_id, "SubscriptionInstances": [instance]}
