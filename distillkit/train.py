"""Stage 2, top to bottom: open the store, build student and objective, step.

    distillkit train-student pipelines/demo/dime_fm.toml

Rerunning continues from the last checkpoint, bit for bit on the same machine; a finished run is left alone.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from distillkit import checkpoint, cpu
from distillkit.batches import Batches
from distillkit.machine import machine
from distillkit.objective import Objective, refuse_nan
from distillkit.progress import Progress
from distillkit.recipe import TrainRecipe, differences
from distillkit.runfolder import RunFolder, device_of, identity
from distillkit.schedule import learning_rate, make_optimizer, total_steps
from distillkit.types import Widths
from distillkit.versions import versions

Say = Callable[[str], None]
LOG_EVERY = 10


def train(recipe: TrainRecipe, say: Say = print, command: str | None = None) -> Path:
    """Train the recipe's student, then its baseline if it has one; returns the run folder. Reports tell `command`."""
    cpu.settle()
    path = train_one(recipe, say, command)
    baseline = recipe.of_baseline()
    if baseline is not None:
        train_one(baseline, say, command)
    return path


def train_one(recipe: TrainRecipe, say: Say, command: str | None = None) -> Path:
    """One student, from wherever its run folder stands to the end."""
    run = RunFolder(recipe.folder)
    with run.locked():
        torch.manual_seed(recipe.seed)
        student = recipe.student.build("students")
        batches = Batches(recipe.data, recipe.seed, student)
        # All that can be refused is refused before an older run is moved aside.
        objective = Objective(recipe.losses, Widths(student.widths, batches.teacher_widths))
        device = device_of(recipe.device)
        stores = {name: store.digest for name, store in batches.stores.items()}
        changes = run.begin(recipe, identity(recipe, stores))
        if changes:
            *changed, moved = changes
            more = f" (and {len(changed) - 1} more)" if changed[1:] else ""
            say(f"{run.path}: {changed[0]}{more}; training anew, {moved}")
        if run.finished:
            say(f"{run.path}: already trained, nothing to do")
            return run.path
        changed = differences(run.versions, versions())
        if changed:
            say(f"{run.path}: begun with other packages ({changed[0]}); what comes out may differ in its last bits")
        facts = _train(recipe, run, student, objective, batches, device, say)
        run.finish(student, facts | {"command": command, "machine": machine()})
    return run.path


def _train(
    recipe: TrainRecipe,
    run: RunFolder,
    student: Any,
    objective: Objective,
    batches: Batches,
    device: torch.device,
    say: Say,
) -> dict[str, Any]:
    batches.narrow(objective.needs)
    model = nn.ModuleDict({"student": student, "objective": objective})
    model.to(device).to(memory_format=torch.channels_last).train()
    optimizer = make_optimizer(model, recipe.optim)
    precision = _precision(recipe.optim.precision, device)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == torch.float16)

    last = total_steps(batches.steps_per_epoch, recipe.optim)
    done = checkpoint.restore(run.checkpoints, model, optimizer, scaler)
    if not done and hasattr(student, "begin"):
        student.begin()
    run.forget_after(done)
    say(
        f"{run.path}: {sum(p.numel() for p in student.parameters()) / 1e6:.2f} M parameters, {last} steps of "
        f"{recipe.data.batch_size} images on {device}" + (f", continuing after step {done}" if done else "")
    )

    with Progress(run, first=done, last=last, batch_size=recipe.data.batch_size, say=say) as progress:
        for step, batch in enumerate(batches.stream(done, last), start=done):
            lr = learning_rate(step, batches.steps_per_epoch, recipe.optim)
            for group in optimizer.param_groups:
                group["lr"] = group["own_lr"] or lr * group["lr_share"]

            objective.at(step)
            batch = batch.to(device)
            with torch.autocast(device.type, precision, enabled=precision != torch.float32):
                features = student(batch)
            total, terms = objective(batch, features)
            if not torch.isfinite(total):
                refuse_nan(terms, step + 1, batch.keys)
            scaler.scale(total).backward()
            if recipe.optim.clip_grad_norm:
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(model.parameters(), recipe.optim.clip_grad_norm)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad(set_to_none=True)

            if (step + 1) % LOG_EVERY == 0 or step + 1 == last:
                values = {"total": total.item(), **{name: value.item() for name, value in terms.items()}}
                progress.log(step + 1, step / batches.steps_per_epoch, lr, values, batches.wait_seconds)
            progress.advance()
            if (step + 1) % recipe.checkpoints.every_steps == 0:
                checkpoint.save(run.checkpoints, step + 1, model, optimizer, scaler, recipe.checkpoints.keep)

    say(f"{run.path}: trained {last} steps in {progress.seconds:.0f} s")
    return _facts(recipe, student, batches, last, progress.seconds)


def _precision(name: str, device: torch.device) -> torch.dtype:
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[name]


def _facts(recipe: TrainRecipe, student: nn.Module, batches: Batches, steps: int, seconds: float) -> dict[str, Any]:
    return {
        "parameters": sum(p.numel() for p in student.parameters()),
        "steps": steps,
        "images_seen": steps * recipe.data.batch_size,
        "seconds": round(seconds, 1),
        "stores": {name: str(store.path) for name, store in batches.stores.items()},
        "teacher": batches.teacher,
    }
