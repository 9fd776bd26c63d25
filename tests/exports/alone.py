"""What exported folders say of pictures and texts, asked by their programs alone: python alone.py ASKED.json SAID.npz

ASKED: {"folders": [[place, target], ...], "pictures": [path, ...], "texts": [...]}. Nothing of distillkit is imported.
"""

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image

BATCH = 32


def main(asked, said):
    assert find_spec("distillkit") is None, "distillkit is here"
    found = {}
    pictures = [Image.open(path) for path in asked["pictures"]]
    pictures = [Image.alpha_composite(Image.new("RGBA", one.size, "white"), one.convert("RGBA")) for one in pictures]
    pictures = [one.convert("RGB") for one in pictures]
    for place, target in asked["folders"]:
        images, texts = {"open_clip": by_open_clip, "timm": by_timm, "hf": by_transformers}.get(target, by_graphs)(
            Path(place)
        )
        with torch.inference_mode():
            found[f"{place}:image"] = parts(images, pictures)
            if texts is not None:
                found[f"{place}:text"] = parts(texts, asked["texts"])
    np.savez(said, **found)


def parts(say, asked):
    return np.concatenate([np.asarray(say(asked[first : first + BATCH])) for first in range(0, len(asked), BATCH)])


def by_open_clip(folder):
    import open_clip

    model, _, show = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")
    model.eval()
    return lambda part: model.encode_image(torch.stack([*map(show, part)])), lambda part: model.encode_text(
        tokens(part)
    )


def by_timm(folder):
    import timm
    from timm.data import create_transform, resolve_model_data_config

    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    show = create_transform(**resolve_model_data_config(model), is_training=False)
    return lambda part: model(torch.stack([*map(show, part)])), None


def by_transformers(folder):
    import transformers

    config = json.loads((folder / "config.json").read_bytes())
    timms = config["model_type"] == "timm_wrapper"  # timm shows pictures by Pillow; CLIP's card asks for it
    process = transformers.AutoImageProcessor.from_pretrained(folder, **({} if timms else {"backend": "pil"}))
    if config["architectures"] == ["TimmWrapperForImageClassification"]:
        model = transformers.AutoModelForImageClassification.from_pretrained(folder).eval()
        return lambda part: model(**process(part, return_tensors="pt")).logits, None
    model = transformers.AutoModel.from_pretrained(folder).eval()
    if config["architectures"] == ["TimmWrapperModel"]:
        return lambda part: model(**process(part, return_tensors="pt")).pooler_output, None
    tokens = transformers.AutoTokenizer.from_pretrained(folder)

    def read(part):
        return tokens(part, padding="max_length", truncation=True, return_tensors="pt")["input_ids"]

    def images(part):
        said = model.vision_model(pixel_values=process(part, return_tensors="pt")["pixel_values"])
        return model.visual_projection(said.pooler_output)

    return images, lambda part: model.text_projection(model.text_model(input_ids=read(part)).pooler_output)


def by_graphs(folder):
    """onnx, web, classifier, torch, executorch: preprocessor_config.json and tokenizer.json say what goes in."""
    config = json.loads((folder / "preprocessor_config.json").read_bytes())

    def see(part):
        return np.stack([pixels(one, config) for one in part])

    images = program(folder, "image", ("vision_model*.onnx", "classifier.onnx"), "pixel_values")
    if not (folder / "tokenizer.json").is_file():
        return lambda part: images(see(part)), None
    from tokenizers import Tokenizer

    tokens = Tokenizer.from_file(str(folder / "tokenizer.json"))
    texts = program(folder, "text", ("text_model*.onnx",), "input_ids")
    return lambda part: images(see(part)), lambda part: texts(np.array([one.ids for one in tokens.encode_batch(part)]))


def program(folder, tower, patterns, reads):
    exported, lowered = folder / f"{tower}.pt2", folder / f"{tower}.pte"
    if lowered.is_file():
        from executorch.runtime import Runtime

        method = Runtime.get().load_program(lowered).load_method("forward")
        return lambda given: np.concatenate(
            [np.array(method.execute([torch.from_numpy(one[None])])[0]) for one in given]
        )
    if exported.is_file():
        network = torch.export.load(exported).module()
        return lambda given: network(torch.from_numpy(given))
    import onnxruntime

    path = next(path for pattern in patterns for path in folder.rglob(pattern))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    says = "logits" if path.name == "classifier.onnx" else session.get_outputs()[0].name
    return lambda given: session.run([says], {reads: given})[0]


def pixels(picture, config):
    side, (width, height) = config["size"]["shortest_edge"], picture.size
    size = (side, side * height // width) if width <= height else (side * width // height, side)
    picture = picture.resize(size, config["resample"])
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    cut = np.asarray(picture.crop((left, top, left + side, top + side)), np.float32)
    normal = (cut * config["rescale_factor"] - config["image_mean"]) / config["image_std"]
    return np.ascontiguousarray(normal.transpose(2, 0, 1), np.float32)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_bytes()), sys.argv[2])
