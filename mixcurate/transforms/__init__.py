"""The only layer of the library that knows Beam: PTransforms that wire kernels and io."""
