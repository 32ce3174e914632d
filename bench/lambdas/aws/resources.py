"""CloudFormation's resources that moto has not, or not whole: functions, versions, aliases, child
stacks. moto finds a resource's class by its type, the one defined last."""

from __future__ import annotations

import base64
import contextlib
import io
import zipfile
from typing import Any

from botocore.session import get_session
from moto.apigateway.models import RestAPI, apigateway_backends
from moto.awslambda.exceptions import LambdaClientError
from moto.awslambda.models import LambdaBackend, LambdaFunction, lambda_backends
from moto.cloudformation.exceptions import ValidationError
from moto.cloudformation.models import Stack, cloudformation_backends
from moto.cloudformation.parsing import get_model_list, get_model_map, get_name_type_map
from moto.cloudformation.utils import get_stack_from_s3_url
from moto.core.common_models import CloudFormationModel

from bench.lambdas.local import configuration
from bench.lambdas.local.configuration import MEMORY_MB, TIMEOUT_S
from bench.lambdas.local.template import text

_LONGEST_NAME = 64
_DEFAULTS: dict[str, Any] = {
    "Description": "",
    "MemorySize": 128,
    "Timeout": 3,
    "Layers": [],
}
_LAMBDA: Any = get_session().get_service_model("lambda")
_RUNTIMES = set(_LAMBDA.shape_for("Runtime").enum)


class FunctionResource(LambdaFunction, CloudFormationModel):
    """AWS::Lambda::Function with every property that the service knows, defaults restored where a
    property is gone. moto keeps the function itself."""

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
        **kwargs: Any,
    ) -> LambdaFunction:
        properties = _checked(cloudformation_json["Properties"])
        name = properties.get("FunctionName") or _short(resource_name)
        backend: LambdaBackend = lambda_backends[account_id][region_name]
        if any(x.function_name == name for x in backend.list_functions()):
            raise ValidationError(message=f"{name} already exists in stack or account")
        function = backend.create_function({**properties, "FunctionName": name})
        _configure(function, properties)
        return function

    @classmethod
    def update_from_cloudformation_json(
        cls,
        original_resource: LambdaFunction,
        new_resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
    ) -> LambdaFunction:
        properties = _checked(cloudformation_json["Properties"])
        name = properties.get("FunctionName", original_resource.function_name)
        if name != original_resource.function_name:  # a new name is a new function
            new = cls.create_from_cloudformation_json(
                name, cloudformation_json, account_id, region_name
            )
            original_resource.delete(account_id, region_name)
            return new
        _configure(original_resource, properties)
        original_resource.update_function_code(properties["Code"])
        return original_resource


class VersionResource(CloudFormationModel):
    """AWS::Lambda::Version; it stays when its stack lets go of it."""

    def __init__(self, arn: str, version: str) -> None:
        self.physical_resource_id, self.version = arn, version

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::Lambda::Version"

    @staticmethod
    def cloudformation_name_type() -> str:
        return ""

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        return attr in ("Version", "FunctionArn")

    def get_cfn_attribute(self, attribute_name: str) -> str:
        return self.version if attribute_name == "Version" else self.physical_resource_id

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
        **kwargs: Any,
    ) -> VersionResource:
        properties = cloudformation_json["Properties"]
        backend = lambda_backends[account_id][region_name]
        published = backend.publish_version(
            _bare(properties["FunctionName"]), properties.get("Description", "")
        )
        assert published is not None
        return cls(published.function_arn, str(published.version))

    def delete(self, account_id: str, region_name: str) -> None:
        pass


class AliasResource(CloudFormationModel):
    """AWS::Lambda::Alias."""

    def __init__(self, arn: str, name: str, function: str) -> None:
        self.physical_resource_id, self.name, self.function = arn, name, function

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::Lambda::Alias"

    @staticmethod
    def cloudformation_name_type() -> str:
        return ""

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        return attr == "AliasArn"

    def get_cfn_attribute(self, attribute_name: str) -> str:
        return self.physical_resource_id

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
        **kwargs: Any,
    ) -> AliasResource:
        properties = cloudformation_json["Properties"]
        function = _bare(properties["FunctionName"])
        alias = lambda_backends[account_id][region_name].create_alias(
            properties["Name"], function, str(properties["FunctionVersion"]), "", ""
        )
        return cls(alias.arn, properties["Name"], function)

    @classmethod
    def update_from_cloudformation_json(
        cls,
        original_resource: AliasResource,
        new_resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
    ) -> AliasResource:
        version = str(cloudformation_json["Properties"]["FunctionVersion"])
        lambda_backends[account_id][region_name].update_alias(
            original_resource.name, original_resource.function, version, "", ""
        )
        return original_resource

    def delete(self, account_id: str, region_name: str) -> None:
        with contextlib.suppress(LambdaClientError):  # it went with its function
            lambda_backends[account_id][region_name].delete_alias(self.name, self.function)


class RestApiResource(RestAPI, CloudFormationModel):
    """AWS::ApiGateway::RestApi with the paths of its body. It can be described, not called."""

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
        **kwargs: Any,
    ) -> RestAPI:
        properties = cloudformation_json["Properties"]
        body = properties.get("Body", {})
        named = {"Name": body.get("info", {}).get("title", resource_name), **properties}
        api: RestAPI = super().create_from_cloudformation_json(
            resource_name,
            {**cloudformation_json, "Properties": named},
            account_id,
            region_name,
            **kwargs,
        )
        # What the SAM transform writes in Swagger 2 of a path, moto reads as OpenAPI 3.
        paths = {"openapi": "3.0", "paths": body.get("paths", {})}
        apigateway_backends[account_id][region_name].put_rest_api(api.id, paths, False)
        return api


class NestedStack(CloudFormationModel):
    """AWS::CloudFormation::Stack: a child whose outputs its parent can read, and whose failure is
    its parent's."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.physical_resource_id = stack.stack_id

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::CloudFormation::Stack"

    @staticmethod
    def cloudformation_name_type() -> str:
        return ""

    @classmethod
    def has_cfn_attr(cls, attr: str) -> bool:
        return attr.startswith("Outputs.")

    def get_cfn_attribute(self, attribute_name: str) -> str:
        wanted = attribute_name.removeprefix("Outputs.")
        for output in self.stack.outputs or []:
            if output["OutputKey"] == wanted:
                return str(output["OutputValue"])
        raise ValidationError(message=f"{self.stack.name} has no output {wanted}")

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
        **kwargs: Any,
    ) -> NestedStack:
        properties = cloudformation_json["Properties"]
        stack = cloudformation_backends[account_id][region_name].create_stack(
            name=resource_name,
            template=get_stack_from_s3_url(properties["TemplateURL"], account_id, "aws"),
            parameters=properties.get("Parameters", {}),
        )
        return cls(_well(stack))

    @classmethod
    def update_from_cloudformation_json(
        cls,
        original_resource: NestedStack,
        new_resource_name: str,
        cloudformation_json: dict[str, Any],
        account_id: str,
        region_name: str,
    ) -> NestedStack:
        properties = cloudformation_json["Properties"]
        template = get_stack_from_s3_url(properties["TemplateURL"], account_id, "aws")
        given = properties.get("Parameters", {})
        parameters = [{"ParameterKey": x, "ParameterValue": given[x]} for x in given]
        stack = cloudformation_backends[account_id][region_name].update_stack(
            original_resource.stack.stack_id, template, None, parameters, None
        )
        return cls(_well(stack))

    def delete(self, account_id: str, region_name: str) -> None:
        cloudformation_backends[account_id][region_name].delete_stack(self.stack.stack_id)


def _well(stack: Stack) -> Stack:
    if "ROLLBACK" in stack.status:
        reasons = [x.resource_status_reason for x in stack.events if x.resource_status_reason]
        raise ValidationError(message=f"Embedded stack {stack.name} failed: {reasons[-1]}")
    return stack


def _checked(properties: dict[str, Any]) -> dict[str, Any]:
    """Properties that AWS would take, in its types.

    Raises:
        ValidationError: it would refuse them.
    """
    runtime = properties.get("Runtime")
    if properties.get("PackageType", "Zip") == "Zip" and runtime not in _RUNTIMES:
        raise ValidationError(
            message=f"Value {runtime} at 'runtime' failed to satisfy constraint: Member must "
            f"satisfy enum value set: [{', '.join(sorted(_RUNTIMES))}]"
        )
    checked = {**properties, "Code": _code(properties["Code"], str(runtime))}
    for key, allowed in (("MemorySize", MEMORY_MB), ("Timeout", TIMEOUT_S)):
        if key not in properties:
            continue
        if not str(properties[key]).isdigit() or int(properties[key]) not in allowed:
            raise ValidationError(
                message=f"'{key[0].lower()}{key[1:]}' value {properties[key]} must be from "
                f"{allowed.start} to {allowed.stop - 1}"
            )
        checked[key] = int(properties[key])
    told = properties.get("Environment", {}).get("Variables", {})
    try:
        variables = configuration.variables({name: text(x) for name, x in told.items()})
    except configuration.Refused as refused:
        raise ValidationError(message=str(refused)) from None
    return {**checked, "Environment": {"Variables": variables}}


def _configure(function: LambdaFunction, properties: dict[str, Any]) -> None:
    function.update_configuration({**_DEFAULTS, **properties})
    function.architectures = properties.get("Architectures", ["x86_64"])
    logging = properties.get("LoggingConfig", {})
    function.logs_group_name = logging.get("LogGroup", f"/aws/lambda/{function.function_name}")
    function.log_format = logging.get("LogFormat", "Text")  # type: ignore[attr-defined]
    function.ephemeral_storage = properties.get("EphemeralStorage", {}).get("Size", 512)
    function.tags = {x["Key"]: x["Value"] for x in properties.get("Tags", [])}


def _code(code: dict[str, Any], runtime: str) -> dict[str, Any]:
    """Code in a template's own text becomes the zip that AWS makes of it."""
    if "ZipFile" not in code:
        return code
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(
            "index.py" if runtime.startswith("python") else "index.js", code["ZipFile"]
        )
    return {"ZipFile": base64.b64encode(packed.getvalue()).decode()}


def _bare(name_or_arn: str) -> str:
    return name_or_arn.partition(":function:")[2].partition(":")[0] or name_or_arn


def _short(name: str) -> str:
    """STACK-LOGICALID-SUFFIX within the length of a function's name, the suffix kept."""
    head, _, suffix = name.rpartition("-")
    return f"{head[: _LONGEST_NAME - len(suffix) - 1]}-{suffix}"


def install() -> None:
    """Have moto use these classes: it asks for the type of each, and takes the last of several."""
    get_model_list.cache_clear()
    get_model_map.cache_clear()
    get_name_type_map.cache_clear()
