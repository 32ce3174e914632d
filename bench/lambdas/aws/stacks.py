"""CloudFormation: moto's stacks and change sets, with what `sam deploy` needs beside them.

The SAM transform is applied before moto sees a template; a change set is carried out with all that
it changes; what fails is rolled back; what moto cannot make is said in the stack's events.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any

import yaml
from moto.cloudformation import models
from moto.cloudformation.exceptions import AlreadyExistsException, ValidationError
from moto.cloudformation.parsing import get_model_map
from moto.iam.aws_managed_policies import aws_managed_policies_data
from samcli.yamlhelper import yaml_parse
from samtranslator.model.exceptions import InvalidDocumentException
from samtranslator.translator.transform import transform

_SERVERLESS = "AWS::Serverless-2016-10-31"


def processed(template: str, parameters: Mapping[str, Any], region: str) -> str:
    """A template as CloudFormation carries it out: transformed, in long form, as JSON.

    Raises:
        ValidationError: it is no template, or the transform refuses it.
    """
    content = _read(template)
    wanted = content.get("Transform", [])
    transforms = wanted if isinstance(wanted, list) else [wanted]
    for name in transforms:
        if name != _SERVERLESS:
            raise ValidationError(message=f"No transform named {name} found.")
    if transforms:
        content = _transformed(content, parameters, region)
    return json.dumps(content)


def complete(template: str, parameters: Mapping[str, Any]) -> dict[str, str]:
    """The value of each parameter that the template declares, defaults included.

    Raises:
        ValidationError: one has neither a value nor a default, or a value that is not allowed.
    """
    declared = _read(template).get("Parameters") or {}
    values = {}
    for name, parameter in declared.items():
        value = parameters.get(name, parameter.get("Default"))
        allowed = parameter.get("AllowedValues")
        if value is None:
            raise ValidationError(message=f"Parameters: [{name}] must have values")
        if allowed and str(value) not in map(str, allowed):
            raise ValidationError(
                message=f"Parameter '{name}' must be one of AllowedValues, not {value!r}"
            )
        values[name] = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return values


def _read(template: str) -> dict[str, Any]:
    try:
        content = yaml_parse(template)
    except yaml.YAMLError as error:
        raise ValidationError(message=f"Template format error: {error}") from None
    if not isinstance(content, dict) or not isinstance(content.get("Resources"), dict):
        raise ValidationError(
            message="Template format error: At least one Resources member must be defined."
        )
    return content


def _transformed(
    content: dict[str, Any], parameters: Mapping[str, Any], region: str
) -> dict[str, Any]:
    values = {**parameters, "AWS::Region": region, "AWS::Partition": "aws"}
    try:
        return dict(transform(content, values, _ManagedPolicies()))
    except InvalidDocumentException as error:
        causes = " ".join(str(cause.message) for cause in error.causes)
        raise ValidationError(
            message=f"Transform {_SERVERLESS} failed with: Invalid Serverless Application "
            f"Specification document. {causes}"
        ) from None


class _ManagedPolicies:
    """ARNs of AWS's own policies by name, for templates that give the name alone."""

    def load(self) -> dict[str, str]:
        return {name: x["Arn"] for name, x in json.loads(aws_managed_policies_data).items()}


class Stacks(models.CloudFormationBackend):
    """The stacks of a region, in the place of moto's."""

    __module__ = models.__name__  # beside which moto looks for the paths that a backend answers

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self._originals: dict[str, str] = {}  # templates as they came, by what was made of them

    def get_template(self, name_or_stack_id: str) -> Any:
        template = super().get_template(name_or_stack_id)
        return self._originals.get(template, template) if isinstance(template, str) else template

    def create_stack(  # type: ignore[override]
        self,
        name: str,
        template: str,
        parameters: dict[str, Any],
        notification_arns: list[str] | None = None,
        tags: dict[str, str] | None = None,
        role_arn: str | None = None,
        **_: Any,
    ) -> models.Stack:
        if name in [stack.name for stack in self.stacks.values()]:
            raise AlreadyExistsException(f"Stack [{name}] already exists")
        change_set_id, stack_id = self.create_change_set(
            stack_name=name,
            change_set_name="create",
            template=template,
            parameters=parameters,
            description="",
            change_set_type="CREATE",
            notification_arns=notification_arns,
            tags=tags,
            role_arn=role_arn,
        )
        self.execute_change_set(change_set_id)
        return self.stacks[stack_id]

    def create_change_set(  # type: ignore[override]
        self, stack_name: str, template: str, parameters: dict[str, Any], **options: Any
    ) -> tuple[str, str]:
        parameters = complete(template, parameters)
        if options["change_set_type"] == "CREATE":  # one that was begun and not carried out
            for stack in list(self.stacks.values()):
                if stack.name == stack_name and stack.status == "REVIEW_IN_PROGRESS":
                    del self.stacks[stack.stack_id]
        return super().create_change_set(
            stack_name=stack_name,
            template=self._processed(template, parameters),
            parameters=parameters,
            **options,
        )

    def execute_change_set(self, change_set_name: str, stack_name: str | None = None) -> None:
        change_set = self.describe_change_set(change_set_name)
        assert change_set is not None
        stack = self.stacks[change_set.stack_id]
        if change_set.change_set_type == "CREATE":
            self._create(stack, change_set.template, change_set.parameters)
        else:
            self._update(stack, change_set.template, change_set.parameters, change_set.tags)
        for one in [x for x in self.change_sets.values() if x.stack_id == stack.stack_id]:
            del self.change_sets[one.change_set_id]  # those not carried out lose their ground

    def update_stack(
        self,
        name: str,
        template: str,
        role_arn: str | None,
        parameters: list[dict[str, Any]],
        tags: dict[str, str] | None,
    ) -> models.Stack:
        stack = self.get_stack(name)
        given = self._resolve_update_parameters(instance=stack, incoming_params=parameters)
        values = complete(template, given)
        template = self._processed(template, values)
        if stack.has_template(template) and stack.has_parameters(values):
            raise ValidationError(message="No updates are to be performed.")
        self._update(stack, template, values, tags)
        return stack

    def _processed(self, template: str, parameters: Mapping[str, Any]) -> str:
        if template in self._originals:
            return template
        done = processed(template, parameters, self.region_name)
        self._originals[done] = template
        return done

    def _create(self, stack: models.Stack, template: str, parameters: dict[str, str]) -> None:
        stack._add_stack_event("CREATE_IN_PROGRESS", resource_status_reason="User Initiated")
        stack.status = "CREATE_IN_PROGRESS"
        try:
            stack.template, stack.parameters = template, parameters
            stack._parse_template()
            stack.resource_map = stack._create_resource_map()
            stack.resource_map.create(stack.template_dict)
            self._set_outputs(stack)
        except Exception as error:  # whatever it is, the stack says so and is rolled back
            _tell(stack, "ROLLBACK_IN_PROGRESS", _words(error))
            with contextlib.suppress(Exception):  # what cannot be deleted was not made
                stack.resource_map.delete()
            _tell(stack, "ROLLBACK_COMPLETE")
            return
        _tell_resources(stack, "CREATE_COMPLETE", stack.template_dict["Resources"])
        stack.description = stack.template_dict.get("Description")
        _tell(stack, "CREATE_COMPLETE")

    def _update(
        self,
        stack: models.Stack,
        template: str,
        parameters: dict[str, str],
        tags: dict[str, str] | None,
    ) -> None:
        assert isinstance(stack.template, str)
        before = stack.template, stack.parameters
        changes = stack.resource_map.build_resource_diff(json.loads(template), parameters)
        _tell(stack, "UPDATE_IN_PROGRESS", "User Initiated")
        try:
            self._apply(stack, template, parameters)
        except Exception as error:  # whatever it is, the stack says so and is rolled back
            _tell(stack, "UPDATE_ROLLBACK_IN_PROGRESS", _words(error))
            for name in changes["Remove"]:
                stack.resource_map._parsed_resources.pop(name, None)
            try:
                self._apply(stack, *before)
            except Exception as second:
                _tell(stack, "UPDATE_ROLLBACK_FAILED", _words(second))
                return
            _tell(stack, "UPDATE_ROLLBACK_COMPLETE")
            return
        for name in changes["Remove"]:
            stack.resource_map._parsed_resources.pop(name, None)
        resources = stack.template_dict["Resources"]
        for done, status in (("Add", "CREATE_COMPLETE"), ("Modify", "UPDATE_COMPLETE")):
            _tell_resources(stack, status, {x: resources[x] for x in changes[done]})
        stack.description = stack.template_dict.get("Description")
        stack.tags = stack.tags if tags is None else tags
        _tell(stack, "UPDATE_COMPLETE")

    def _apply(self, stack: models.Stack, template: str, parameters: dict[str, str]) -> None:
        there = dict(stack.resource_map._parsed_resources)
        stack.template, stack.parameters = template, parameters
        stack._parse_template()
        stack.resource_map.update(stack.template_dict, parameters)
        for name, resource in stack.resource_map._parsed_resources.items():
            if resource is None:  # moto knows no update of its type
                stack.resource_map._parsed_resources[name] = there.get(name)
        self._set_outputs(stack)

    def _set_outputs(self, stack: models.Stack) -> None:
        """Evaluate the outputs, and replace the stack's exports."""
        stack.output_map = stack._create_output_map()
        exports = {x.name: x for x in stack.exports}
        others = {n: x for n, x in self.exports.items() if x.exporting_stack_id != stack.stack_id}
        if taken := exports.keys() & others.keys():
            raise ValidationError(message=f"Export with name {min(taken)} is already exported")
        self.exports = {**others, **exports}
        for _ in stack.output_map.values():
            pass  # evaluates each: one that cannot be is the stack's failure, not its reader's


def _tell(stack: models.Stack, status: str, reason: str | None = None) -> None:
    stack.status = status
    stack._add_stack_event(status, resource_status_reason=reason)


def _tell_resources(stack: models.Stack, status: str, resources: Mapping[str, Any]) -> None:
    for name, declared in resources.items():
        kind = declared["Type"]
        resource = stack.resource_map._parsed_resources.get(name)
        known = kind in get_model_map() or kind.startswith("Custom::")
        stack.events.append(
            models.Event(
                stack_id=stack.stack_id,
                stack_name=stack.name,
                logical_resource_id=name,
                physical_resource_id=str(getattr(resource, "physical_resource_id", None) or ""),
                resource_type=kind,
                resource_status=status,
                resource_status_reason=None if known else "Not made: unknown to `bench aws`",
                resource_properties=None,
            )
        )


def _words(error: Exception) -> str:
    message = getattr(error, "message", None)
    return str(message) if message else f"{type(error).__name__}: {error}"


def install() -> None:
    """Have moto keep its stacks here."""
    models.cloudformation_backends.backend = Stacks
