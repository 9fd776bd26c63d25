"""Which rows of a store are of one image, for the store's own; evaluations, which know no store, have it from there."""

from distillkit.system.one_image import first_of_each, has_doubles, images_of, rows_of_images

__all__ = ["first_of_each", "has_doubles", "images_of", "rows_of_images"]
