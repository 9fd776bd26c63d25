"""Students so small that a test takes milliseconds."""

import torch

# Two heads of 16 and neurons four times the width, in both towers; 2 x 2 patches, ten tokens.
PAIR = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 10, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
RESNET = PAIR | {"vision_cfg": {"image_size": 32, "layers": [1, 2, 1, 1], "width": 8, "head_width": 16}}

torch.manual_seed(1)
IMAGES = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
TEXTS = ["a red dot", "two rings", "a very long blue bar"]
