"""Where a student can go: programs that open it without us. One kind is one file; the folder is the registry.

An export is a class whose keyword-only parameters are its knobs, with
    precisions                 those it can be written in, "fp32" first
    holds(student)             None, or in a few words why this program cannot hold that student
    write(student, folder, precision, calibration)
                               its files, into a folder that is there; `calibration`: normalised pixels, for int8
    open(folder)               what the folder says when the program itself opens it, preprocessing included (Opened)
    lines(student)             Python that opens it, for the model card (of another `language`, if it has one)
A target that can leave parts in fp32 has `keep`, a pattern of their names, which may be set, and
    blocks(precision)          names of the parts of what was written last, as "image/blocks.2.0"
One that gives scores over classes has `answers_classes = True`, one that shows them beside embeddings `shows_classes`.
`student` is a Described: every target reads the same description and none looks into a run.
"""
