"""The embedded default: real images, texts and weights from the package registry."""
