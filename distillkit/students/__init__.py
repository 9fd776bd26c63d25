"""Trainable students: `Batch` in, `Features` out. One kind is one file; the folder is the registry.

A student is a module whose keyword-only parameters are its recipe schema, with
    image_size               pixels of a side, None where it sees no images
    widths                   {field of Features: its width}; what `forward` gives, no more and no less
    forward(batch)           Features for the losses; a masked forward where `batch.mask` is given
    embed(pixels)            uint8 pixels to embeddings, for evaluation; normalised inside
    embed_tokens(pixels)     what is pooled and the patches, for evaluation of dense features
    tokenize(texts), embed_text(tokens), context_length    where it has a text tower
    patches, grid            the number of patch tokens and their rows and columns, where it gives any
    begin()                  once, before the first step of a fresh run: take over weights, and return a line on what
                             came of it, or None. Building needs no teacher
A submodule with a `learning_rate` has parameters of that constant rate, not scheduled and not decayed.
"""
