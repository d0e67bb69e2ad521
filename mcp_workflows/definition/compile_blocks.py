"""Steps that hold steps: branches, loops, and the arms that a switch or the handling of a failure may take.

What steps are compiled into is none of this module's business: whoever calls gives the function that compiles a list.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from mcp_workflows.definition import model
from mcp_workflows.definition.expressions import MEANINGS, Expression, Template
from mcp_workflows.definition.model.step import StepsOrCase
from mcp_workflows.definition.nested import case_names
from mcp_workflows.definition.program import (
    Arm,
    BlockWork,
    ForEachWork,
    ParallelWork,
    RepeatWork,
    Step,
    SwitchWork,
)
from mcp_workflows.definition.scope import DEFAULT_ITEM, Scope
from mcp_workflows.definition.site import EMPTY, Site, given_by
from mcp_workflows.definition.text.nodes import Map, Scalar, Seq

Nest: TypeAlias = Callable[[list[model.Step], Site], tuple[Step, ...]]
"""Compiles a list of steps where it stands."""


def compile_block(step: model.Work, site: Site, nest: Nest) -> BlockWork | None:
    """``site`` is the step's. ``None`` where its form was refused."""
    if step.switch is not None:
        return _switch(step.switch, site, nest)
    if step.parallel is not None:
        return _parallel(step.parallel, site, nest)
    if step.for_each is not None:
        return _for_each(step.for_each, site, nest)
    return _repeat(step.repeat, site, nest) if step.repeat is not None else None


def compile_arms(arms: list[model.Arm], site: Site, nest: Nest, *, of: str) -> tuple[Arm, ...]:
    """The arms that stand at ``site``; ``of`` is ``switch`` or ``on_error``."""
    return tuple(_arm(arm, index, len(arms), site.under(index), nest, of) for index, arm in enumerate(arms))


def _arm(arm: model.Arm, index: int, count: int, site: Site, nest: Nest, of: str) -> Arm:
    last = _refuse_arm(site, of, is_last=index == count - 1)
    when = site.at("when").condition("when") if arm.when is not None else None
    if when is not None:
        site = site.within(replace(site.scope, given=site.scope.given | given_by(when)))
    key, steps = ("else", arm.else_steps) if last else ("steps", arm.steps)
    name = "else" if last else f"when{index + 1}"
    inner, output = _steps_and_output(steps or [], key, site, nest)
    return Arm(name, inner, when=when, output=output)


def _refuse_arm(site: Site, of: str, *, is_last: bool) -> bool:
    """Whether it is the arm that is taken if no other is. An arm that is neither is reported, under the code ``of``."""
    keys = site.node.entries if isinstance(site.node, Map) else {}
    has_else = "else" in keys
    message, key = None, None
    if not keys:
        message = "an arm is {when, steps} or, as the last one, {else: [steps]}"
    elif has_else and ("when" in keys or "steps" in keys):
        key = "when" if "when" in keys else "steps"
        message = f'"{key}" may not stand beside "else", which holds the steps itself'
    elif has_else and not is_last:
        key, message = "else", "else is the last arm: those after it would never be taken"
    elif not has_else and "when" not in keys:
        message = 'an arm has "when", or is {else: [steps]}'
    if message is not None:
        _refuse_as(of, site, message, key)
    else:
        _refuse_without_steps(of, site, "else" if has_else else "steps")
    return has_else


def _refuse_without_steps(of: str, site: Site, key: str) -> None:
    """Something must be done or given."""
    keys = site.node.entries if isinstance(site.node, Map) else {}
    steps = keys[key].value if key in keys else None
    if "output" not in keys and (steps is None or (isinstance(steps, Seq) and not steps.items)):
        _refuse_as(of, site, "this needs steps or an output", None)


def _refuse_as(of: str, site: Site, message: str, key: str | None) -> None:
    if of == "on_error":
        site.refuse("on_error", message, key=key)
    else:
        site.refuse("switch", message, key=key)


def _steps_and_output(
    steps: list[model.Step], key: str | None, site: Site, nest: Nest
) -> tuple[tuple[Step, ...], Template | None]:
    """Of the arm or case at ``site``: its steps, under ``key``, and what it gives."""
    inside = site.under(key) if key is not None else site
    inner = nest(steps, inside.within(site.scope.inside()))
    if key is None or not (isinstance(site.node, Map) and "output" in site.node.entries):
        return inner, None
    after = site.within(site.scope.after(inside.path, len(steps)))
    return inner, after.at("output").shape("output", needs_value=True)


def _switch(switch: list[model.Arm] | model.Cases, site: Site, nest: Nest) -> SwitchWork:
    here = site.under("switch")
    if isinstance(switch, list):
        return SwitchWork(compile_arms(switch, here, nest, of="switch"))
    arms = [_case(switch.cases[text], name, text, here.under("cases", text), nest) for name, text in case_names(switch)]
    if switch.else_case is not None:
        arms.append(_case(switch.else_case, "else", None, here.under("else"), nest))
    return SwitchWork(tuple(arms), _value(here))


def _case(case: StepsOrCase, name: str, text: str | None, site: Site, nest: Nest) -> Arm:
    if isinstance(case, list):
        steps, output = _steps_and_output(case, None, site, nest)
    else:
        _refuse_without_steps("switch", site, "steps")
        steps, output = _steps_and_output(case.steps or [], "steps", site, nest)
    return Arm(name, steps, case=text, output=output)


def _value(site: Site) -> Template:
    value = site.at("value").shape("value", needs_value=True)
    node = site.under("value").node
    if value.is_literal and value is not EMPTY and isinstance(node, Scalar):
        message = f'value must be an expression, found the text "{node.value}". Write ${{{node.value}}}'
        site.document.refuse(node, "expr", message)
    if isinstance(value.shape, Expression) and value.shape.result_type in ("list", "map", "null"):
        message = f'found {value.shape.result_type}, expected a text, a number or a bool, in "value"'
        site.document.refuse(node, "expr", message, value.shape.start)
    return value


def _parallel(branches: dict[str, list[model.Step]], site: Site, nest: Nest) -> ParallelWork:
    """In the order of names: that of the file is no part of the content."""
    here = site.under("parallel").within(site.scope.inside())
    return ParallelWork({name: nest(branches[name], here.under(name)) for name in sorted(branches)})


def _for_each(each: model.ForEach, site: Site, nest: Nest) -> ForEachWork:
    here = site.under("for_each")
    name = each.item_name or DEFAULT_ITEM
    steps = here.under("steps")
    scope = _with_item(name, here).inside("index")
    output = None
    if "output" in each.model_fields_set:
        after = here.within(replace(scope, own=site.scope.own).after(steps.path, len(each.steps)))
        output = after.at("output").shape("output", needs_value=True)
    items = _items(here)
    return ForEachWork(
        items=items,
        steps=nest(each.steps, steps.within(scope.holding(name, items))),
        item_name=name,
        concurrency=each.concurrency,
        output=output,
        collect_errors=each.on_item_error == "collect",
    )


def _with_item(name: str, site: Site) -> Scope:
    """The scope in which the item has its name, which must mean nothing else there."""
    node = site.document.key((*site.path, "as"))
    node = site.under("as").node if node is not None else site.document.key(site.path) or site.node
    if name in MEANINGS:
        message = f'"{name}" already means something in expressions; give the item another name'
        site.document.refuse(node, "for_each", message)
        return site.scope
    if name in site.scope.items:
        message = (
            f'"{name}" is already the item of the for_each at line {site.scope.items[name]}; name this one with as'
        )
        site.document.refuse(node, "for_each", message)
    return site.scope.with_item(name, site.document.line(site.document.key(site.path) or site.node))


def _items(site: Site) -> Template:
    here = site.at("items")
    node = here.under("items").node
    if isinstance(node, Seq):
        return here.shape("items")
    if not isinstance(node, Scalar) or not isinstance(node.value, str) or "${" not in node.value:
        found = "a mapping" if isinstance(node, Map) else f'"{node.value}"'
        message = f"items must be an expression that gives a list, or a list; found {found}"
        site.document.refuse(node, "for_each", message)
        return EMPTY
    items = here.shape("items", needs_value=True)
    if isinstance(items.shape, Expression):
        kind = here.scope.type_of(items.shape) or items.shape.result_type
        if kind not in ("list", "dyn"):
            site.document.refuse(node, "expr", f'found {kind}, expected list, in "items"', items.shape.start)
    elif items is not EMPTY:
        message = "items must be one expression that gives a list; this is a text of several pieces"
        site.document.refuse(node, "for_each", message)
    return items


def _repeat(repeat: model.Repeat, site: Site, nest: Nest) -> RepeatWork:
    here = site.under("repeat")
    given = repeat.model_fields_set
    keys = here.node.entries if isinstance(here.node, Map) else {}
    if "until" not in keys and "max_iterations" not in keys:
        here.refuse("repeat", "needs until or max_iterations")
    if "next" in keys and "state" not in keys:
        here.refuse("repeat", "next gives the next state, and there is none to begin with: add state", key="next")
    roots = ("index", "state") if "state" in keys else ("index",)
    steps = here.under("steps")
    after = here.within(site.scope.after(steps.path, len(repeat.steps), *roots))
    state = here.at("state").shape("state", needs_value=True) if "state" in given else None
    return RepeatWork(
        steps=nest(repeat.steps, steps.within(site.scope.inside(*roots).holding("state", state))),
        state=state,
        next=after.at("next").shape("next", needs_value=True) if "next" in given else None,
        collect=after.at("collect").shape("collect", needs_value=True) if "collect" in given else None,
        until=after.at("until").condition("until") if repeat.until is not None else None,
        every=repeat.every,
        max_iterations=repeat.max_iterations,
    )
