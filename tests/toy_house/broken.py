"""An entry of the toy package that cannot be imported."""

raise RuntimeError("the toy is broken")
