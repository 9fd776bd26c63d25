"""Features that other projects have stored, read where they lie. One kind is one file; the folder is the registry.

An importer is given the place, and has `fields`, `teachers`, `views`, `source`; iterating gives a `Sample` a row, and
`read(rows)` what is stored of these rows: for each field `[rows, *shape]`, and which rows cannot be used, and why.
One that has `places`, the files that it reads, is told of when they are others than a store was made of.
"""
