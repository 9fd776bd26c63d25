"""Exports that go wrong in the ways that exports of others went wrong; each is a target of its own, as from outside."""

import torch
from safetensors.torch import load_file, save_file

from distillkit.exports._files import write_json
from distillkit.exports.open_clip import OpenClip
from tests.exports.world import json_of


class _Faulty(OpenClip):
    def write(self, student, folder, precision, calibration=None):
        super().write(student, folder, precision, calibration)
        config, weights = json_of(folder / "open_clip_config.json"), load_file(folder / "open_clip_model.safetensors")
        self.spoil(config["model_cfg"], config["preprocess_cfg"], weights)
        write_json(folder / "open_clip_config.json", config)
        save_file({name: value.contiguous() for name, value in weights.items()}, folder / "open_clip_model.safetensors")


class Sound(_Faulty):
    def spoil(self, model, preprocess, weights):
        pass


class NoCausalMask(_Faulty):
    def spoil(self, model, preprocess, weights):
        model["text_cfg"]["no_causal_mask"] = True


class OtherInterpolation(_Faulty):
    def spoil(self, model, preprocess, weights):
        preprocess["interpolation"] = "bilinear"


class OtherMean(_Faulty):
    def spoil(self, model, preprocess, weights):
        preprocess |= {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


class Bgr(_Faulty):
    def spoil(self, model, preprocess, weights):
        weights["visual.conv1.weight"] = weights["visual.conv1.weight"].flip(1)


class NoProjection(_Faulty):
    def spoil(self, model, preprocess, weights):
        weights["visual.proj"] = torch.eye(len(weights["visual.proj"]))


class Stretched(_Faulty):
    """Every direction is right, and no length."""

    def spoil(self, model, preprocess, weights):
        weights["visual.proj"] = weights["visual.proj"] * 2


class QuickGelu(_Faulty):
    def spoil(self, model, preprocess, weights):
        model["quick_gelu"] = True


class Squeezed(_Faulty):
    """Whole pictures are squeezed into the square; squares look the same."""

    def spoil(self, model, preprocess, weights):
        preprocess["resize_mode"] = "squash"
