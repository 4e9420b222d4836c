"""How our own characters are made: modelled and rendered with Blender. README.md of `avatars/presets` has the steps.

Nothing here runs in the portal. It needs `bpy` and `mathutils` (Blender as a Python package), which the project does
not install.
"""
