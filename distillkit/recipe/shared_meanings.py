"""What a knob means in every kind of a room whose own docstring says nothing of it."""

from __future__ import annotations

_LABELS = "of class labels: numbers, or names if the corpus has class_names"
SHARED: dict[str, dict[str, str]] = {
    "losses": {
        "name": "of the term, in logs and errors; its kind, if not given",
        "weight": "the term's factor in the sum of all terms",
    },
    "evals": {
        "name": "of the measurement, in reports; its kind, if not given",
        "classes": "a file of class names, one a line; needed if the images have class names and no labels",
        "first_class": "the prompts' class number that the images' label 0 stands for; -1 if their labels begin at 1",
    },
    "sources": {
        "image_column": "the column of images, or of their paths below the root",
        "text_column": "the column of captions",
        "label_column": f"the column {_LABELS}",
        "key_column": "the column of keys, which must be unique in the corpus",
        "text_field": 'the field of captions; "a.b" is field b of the object in field a',
        "image_field": "the field of image paths",
        "label_field": f"the field {_LABELS}",
        "key_field": "the field of keys, which must be unique in the corpus",
        "captions": 'of several captions (a list, or lines of a text), "whole": the text as it is; a number: that one, '
        'from 0; "all": each, as a row with the key KEY/NUMBER',
        "templates": "the sentences that class names are put into: a set of open_clip's (80 or 7 sentences), or a list "
        "of your own with {} where the name goes",
        "follow_links": "true: symbolic links below the root may lead to any file; false: only links to folders are "
        "followed",
        "classes": "true: the first folder of an image's path is its class; classes are numbered in the order in which "
        "they come",
    },
    "teachers": {
        "device": '"cpu", "cuda", "cuda:1"; "auto": a GPU if there is one',
        "context_length": "tokens of a text; the model's own number, if not given",
        "grid": 'which patch tokens a row has. "full": those of all patches; a number: their means over a grid of so '
        "many cells a side, which must divide the patches of a side",
        "sha256": "the expected hash of the weights, as a store records it (weights_sha256); other weights are refused",
        "pixels": 'how images are decoded and resized. "pil": as the model\'s library does; "torchvision": twice as '
        'fast, to nearly the same pixels; "nvjpeg": the same, with JPEGs decoded on the GPU. The store records it',
        "reduced": "true: decode JPEGs at a half, a quarter or an eighth of their size, where that leaves twice the "
        "pixels that the teacher sees: less time and memory, other features. The store records it",
        "compile": "true: run the network through torch.compile",
    },
    "students": {
        "model": "a name that open_clip has, or a paper's pair, or a table as in open_clip's model_configs",
        "embed_dim": "width of the embeddings; as the model's configuration has it, if not given",
        "image_size": "side of the square images that the student sees, in pixels; as the model's configuration has "
        "it, if not given",
        "masks": "true: the student learns masks beside its weights; false: it is the smaller network that an "
        "earlier stage's masks left",
    },
    "importers": {
        "name": "what the store calls the teacher",
        "model": "the network that made the features, if known; a remark, which is compared with nothing",
        "sha256": "the hash of that network's weights, if known; tells this teacher from others",
        "logit_scale": "the factor that the teacher multiplies cosines by, if known",
        "images": "the folder where the images lie, if there is one",
    },
    "exports": {"keep": "a regular expression: nodes of the graph whose names it finds stay in fp32"},
}
